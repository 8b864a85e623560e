"""The entry of `sam-moe` and its exit codes: 0 done, 1 failed, 2 wrong command line; an error is one line."""

import logging
import os
import sys
import traceback
from collections.abc import Sequence

import typer

from sam_moe.cli.app import app
from sam_moe.cli.options import COMMAND_LINE
from sam_moe.cli.terminal.environment import set_right
from sam_moe.cli.terminal.progress import Remarks
from sam_moe.cli.terminal.standard_streams import sturdy_streams
from sam_moe.errors import SamMoeError
from sam_moe.files import in_words, shown
from sam_moe.processes import world_size

DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130

_DEBUG = "--debug"


def main(argv: Sequence[str] | None = None) -> int:
    """Run `sam-moe` with these words (by default those it was called with) and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    COMMAND_LINE.set(tuple(words))
    debug = _take_debug(words)
    set_right()
    remarks, logger = Remarks(), logging.getLogger("sam_moe")
    level = logger.level
    with sturdy_streams() as lost:
        logger.addHandler(remarks)
        logger.setLevel(logging.DEBUG if debug else logging.WARNING)
        launched = False
        try:
            launched = world_size() > 1
            code = _run(words, debug)
        except SamMoeError as error:
            code = _failed(error, debug)
        finally:
            logger.removeHandler(remarks)
            logger.setLevel(level)
        if lost.reason is not None:
            why = lost.reason.strerror
            _report(f"standard output could not be written ({why}); what was to be shown is lost.")
            code = code or FAILED
        if launched:
            _leave(code)
    return code


def _leave(code: int) -> None:
    """End one of a launcher's processes at once, with all that it wrote.

    torch's threads for talking with the others are not always joined when a process winds down, and then it
    aborts in one run of ten or so, after all is done (seen with torch 2.13 and gloo).
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _run(words: list[str], debug: bool) -> int:
    try:
        code = typer.main.get_command(app).main(
            words or ["--help"], prog_name="sam-moe", standalone_mode=False
        )
        sys.stdout.flush()
        if code == INTERRUPTED:
            _report("interrupted")
        return code if isinstance(code, int) else DONE
    except (KeyboardInterrupt, typer.Abort):
        _report("interrupted")
        return INTERRUPTED
    except SystemExit as ended:  # typer meets a closed pipe so
        return ended.code if isinstance(ended.code, int) else FAILED
    except BrokenPipeError:
        # Whoever read our output has gone; Python would complain once more when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        return _failed(error, debug)


def _failed(error: Exception, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    if isinstance(error, SamMoeError):
        _report(str(error))
        return FAILED
    if (usage := _usage(error)) is not None:
        _report(usage)
        return WRONG_USAGE
    if isinstance(error, OSError) and isinstance(error.filename, str):  # a path that no check foresaw
        _report(f"{shown(error.filename)}: the system refuses it ({in_words(error)}). Check path and rights.")
        return FAILED
    hint = "report it with the trace above" if debug else f"run again with {_DEBUG} and report the trace"
    _report(f"internal error, {type(error).__name__}: {error}; please {hint}")
    return FAILED


def _usage(error: Exception) -> str | None:
    """Message of a wrong command line; typer has moved the class of such errors more than once."""
    message = getattr(error, "format_message", None)
    if message is None or getattr(error, "exit_code", FAILED) != WRONG_USAGE:
        return None
    text = str(message())
    path = getattr(getattr(error, "ctx", None), "command_path", "sam-moe")
    stop = "" if text.endswith((".", "?")) else "."
    return f"{text[:1].lower()}{text[1:]}{stop} See `{path} --help`."


def _take_debug(words: list[str]) -> bool:
    """Take --debug out of the words, wherever it stands before a `--`."""
    end = words.index("--") if "--" in words else len(words)
    found = _DEBUG in words[:end]
    words[:end] = [word for word in words[:end] if word != _DEBUG]
    return found


def _report(text: str) -> None:
    typer.echo(f"sam-moe: {' '.join(text.split())}", err=True)
