"""A server on loopback that speaks as much of the hub's protocol as fetching one file takes."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ADDRESS = "/someone/small/resolve/main/small.pth"


class Hub:
    """One file on a server, and the requests that came for it."""

    def __init__(self, data):
        self.data, self.status, self.asked = data, 200, []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self):
                hub.asked.append((self.command, self.path))
                status = hub.status if self.path == ADDRESS else 404
                self.send_response(status)
                body = hub.data if status == 200 else b""
                if status == 404:
                    self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("ETag", f'"{hashlib.sha256(hub.data).hexdigest()}"')
                self.send_header("X-Repo-Commit", "0123456789" * 4)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            do_GET = do_HEAD

            def log_message(self, format, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def settings(self, home):
        """The environment by which the client finds this hub."""
        return {
            "HF_ENDPOINT": f"http://127.0.0.1:{self.server.server_port}",
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1",
        }

    def close(self):
        self.server.shutdown()
        self.server.server_close()
