"""Who works on which case: a lock a case, which the operating system gives back when a process dies."""

import errno
import importlib.util
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sam_moe.errors import ConfigError, FileError
from sam_moe.files import unwritable

log = logging.getLogger(__name__)

_HERE = importlib.util.find_spec("fcntl") is not None  # not on Windows

_SUFFIX = ".lock"
# What file systems without locks say: some network mounts, some containers' shared folders.
_NONE = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL)


def check_several(processes: int, folder: Path) -> None:
    """Refuse several processes where there are no such locks, on this system or in this folder.

    Raises:
        ConfigError: for several processes without locks.
        FileError: where the folder cannot be written to.
    """
    if processes > 1 and not (_HERE and _has_locks(folder)):
        raise ConfigError(
            f"{processes} processes share cases by locks that {folder} does not have. Expected one process "
            "here, or a folder on a local disk; start without a launcher and without --processes."
        )


@contextmanager
def claimed(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Whether what will be written to `path` is ours to make, for as long as the block lasts.

    With `wait` only after whoever has it now is done or dead. Without locks all is ours: `check_several` has
    seen to it that there is one process.

    Raises:
        FileError: where no lock can be written beside `path`.
    """
    if not _HERE:
        yield True
        return
    number = _locked(path.parent / f".{path.name}{_SUFFIX}", wait)
    if number is None:
        yield False
        return
    try:
        yield True
    finally:
        os.close(number)


def clear(folder: Path) -> None:
    """Remove the locks of a folder, once all is done; in a folder that is closed to us they stay."""
    for path in folder.glob(f".*{_SUFFIX}"):
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _has_locks(folder: Path) -> bool:
    import fcntl

    try:
        number = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise FileError(unwritable(folder, error)) from error
    try:
        fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in _NONE
    finally:
        os.close(number)
    return True


def _locked(path: Path, wait: bool) -> int | None:
    """A file that is locked; None where another process has it."""
    import fcntl

    while True:
        try:
            number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise FileError(unwritable(path, error)) from error
        try:
            fcntl.flock(number, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            if error.errno in _NONE:
                log.debug("%s: no locks here (%s)", path, error.strerror)
                return number
            os.close(number)
            if isinstance(error, BlockingIOError):
                return None
            raise FileError(unwritable(path, error)) from error
        if os.fstat(number).st_nlink:
            return number
        os.close(number)  # it was cleared between opening and locking: it guards nothing any more
