"""A public file is fetched from the hub once, and trusted by its checksum alone."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.weights.hub_server import ADDRESS, Hub

pytestmark = pytest.mark.slow  # each fetch is a process of its own: the client reads its settings on import

ROOT = Path(__file__).resolve().parents[2]
CONTENT = b"weights of someone"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FETCH = """
import sys
from sam_moe.errors import WeightsError
from sam_moe.weights.hub import fetch
try:
    print(fetch("someone/small", "small.pth", "main", sys.argv[1]).read_bytes().decode())
except WeightsError as error:
    sys.exit(str(error))
"""


@pytest.fixture
def hub():
    hub = Hub(CONTENT)
    yield hub
    hub.close()


@pytest.fixture
def fetch(tmp_path, hub):
    """Fetches the hub's file in a process of its own; the process that ended."""

    def run(sha256=SHA256, **settings):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        env = kept | hub.settings(tmp_path / "hf") | settings
        command = [sys.executable, "-c", FETCH, sha256]
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)

    return run


def test_a_file_is_fetched_once_and_then_taken_from_the_hubs_cache(fetch, hub):
    assert fetch().stdout == CONTENT.decode() + "\n"
    assert ("GET", ADDRESS) in hub.asked
    hub.close()
    assert fetch(HF_HUB_OFFLINE="1").stdout == CONTENT.decode() + "\n"


def test_a_file_with_another_checksum_is_refused(fetch):
    refused = fetch("0" * 64)
    assert refused.returncode == 1
    assert f"has SHA-256 {SHA256}, expected {'0' * 64}. It was not opened." in refused.stderr


def test_a_file_that_is_not_there_is_named_by_its_address(fetch, hub):
    hub.status = 404
    assert f"{ADDRESS}: cannot be fetched (the hub has no such file: 404)" in fetch().stderr
