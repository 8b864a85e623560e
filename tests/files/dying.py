"""Processes that really die: killed just before each of their file operations in turn, or at a moment."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

CHANGES = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree", "os.truncate"}


def ended(work: Callable[[], object]) -> int:
    """Run in a copy of this process; its exit status, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def killed_at(number: int, folder: Path, work: Callable[[], object]) -> bool:
    """Whether work in a copy of this process came to file operation `number` in a folder and died there."""
    status = ended(lambda: _until(number, folder, work))
    assert status in (0, -signal.SIGKILL), status
    return status != 0


def deaths(
    folder: Path, work: Callable[[], object], before: Callable[[], object], step: int = 1
) -> Iterator[int]:
    """Do `before`, then `work`, killed at its first file operation; again up to its last, by steps."""
    number = 1
    before()
    while killed_at(number, folder, work):
        yield number
        number += step
        before()
    assert number > 1, "no file operation was seen"


def _until(number: int, folder: Path, work: Callable[[], object]) -> None:
    seen = 0

    def hook(event: str, args: tuple[object, ...]) -> None:
        nonlocal seen
        if event not in CHANGES:
            return
        # In rmtree paths are relative
        inside = str(args[0]).startswith(str(folder)) or event in ("os.remove", "os.rmdir")
        writes = event != "open" or (isinstance(args[1], str) and bool(set(args[1]) & set("wax")))
        if inside and writes:
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    work()
