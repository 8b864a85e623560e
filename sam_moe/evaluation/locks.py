"""Who works on which case: a lock a case, which the operating system gives back when a process dies."""

import importlib.util
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sam_moe.errors import ConfigError

_HERE = importlib.util.find_spec("fcntl") is not None  # not on Windows

_SUFFIX = ".lock"


def check_several(processes: int) -> None:
    """Refuse several processes where there are no such locks.

    Raises:
        ConfigError: on such a system.
    """
    if processes > 1 and not _HERE:
        raise ConfigError(
            f"{processes} processes share cases by locks that this system does not have. Expected one "
            "process here; start without a launcher and without --processes."
        )


@contextmanager
def claimed(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Whether what will be written to `path` is ours to make, for as long as the block lasts.

    With `wait` only after whoever has it now is done or dead.
    """
    if not _HERE:
        yield True
        return
    import fcntl

    with (path.parent / f".{path.name}{_SUFFIX}").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


def clear(folder: Path) -> None:
    """Remove locks, and what killed processes left half written, once all is done."""
    for path in folder.glob(".*"):
        path.unlink(missing_ok=True)


def remove_folders(folder: Path, names: Iterable[str]) -> None:
    """Remove these folders in one, and that one itself if nothing else is in it."""
    for name in names:
        shutil.rmtree(folder / name, ignore_errors=True)
    with suppress(OSError):
        folder.rmdir()
