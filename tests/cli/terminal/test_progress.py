"""Progress: silent when quick, one line a slow stage where no terminal is, live on a terminal."""

import contextlib
import logging
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sam_moe.cli.terminal.progress import ProgressLine, Remarks

ROOT = Path(__file__).resolve().parents[3]


def test_quick_stages_say_nothing(capsys):
    with ProgressLine() as progress:
        progress("reading")
        progress("encoding", 0.5)
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_a_stage_of_more_than_a_second_is_one_line_however_often_it_is_reported(capsys):
    with ProgressLine() as progress:
        progress("reading")
        progress("refining", 0.1)
        end = time.monotonic() + 1.6
        while time.monotonic() < end:
            progress("refining", 0.5)
            time.sleep(0.05)
        progress("writing")
    assert capsys.readouterr().err == "refining …\n"


@pytest.mark.slow
def test_asked_for_json_it_keeps_quiet(capsys):
    with ProgressLine(quiet=True) as progress:
        progress("refining")
        time.sleep(1.2)
    assert capsys.readouterr().err == ""


def everything(terminal):
    """What was written to a terminal whose writers are gone: it comes in parts, and ends with an error."""
    parts = []
    with contextlib.suppress(OSError):
        while part := os.read(terminal, 100_000):
            parts.append(part)
    os.close(terminal)
    return b"".join(parts).decode()


@pytest.mark.slow
def test_on_a_terminal_the_stage_is_shown_and_wiped_away():
    program = (
        "import time\nfrom sam_moe.cli.terminal.progress import ProgressLine\n"
        "with ProgressLine() as progress:\n    progress('encoding', 0.25); time.sleep(0.6)\n"
    )
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], stderr=theirs, stdout=subprocess.PIPE, check=True, env=env
    )
    os.close(theirs)
    shown = everything(ours)
    assert "encoding 25%" in shown
    assert shown.rstrip().endswith("\x1b[2K")  # the line is erased
    assert done.stdout == b""


def test_what_the_library_warns_of_is_one_line_however_often_it_says_so(capsys):
    logger = logging.Logger("sam_moe.somewhere")
    logger.addHandler(Remarks())
    logger.warning("every voxel\nis %s", 3)
    logger.info("step 3")
    logger.warning("every voxel is 3")
    assert capsys.readouterr().err == "sam-moe: warning: every voxel is 3\nsam-moe: step 3\n"
