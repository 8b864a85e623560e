"""Which process works on which case: a lock a case, free again when its process dies."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from sam_moe.errors import ConfigError, FileError
from sam_moe.files import unwritable
from sam_moe.files.locking import FILELOCK, filelock_version, locked

_SUFFIX = ".lock"


def check_several(processes: int, folder: Path) -> None:
    """Refuse several processes in a folder whose file system has no locks.

    Raises:
        ConfigError: for several processes without locks, or an old filelock.
        FileError: where the folder cannot be read.
    """
    _check_filelock()
    if processes > 1 and not _has_locks(folder):
        raise ConfigError(
            f"{processes} processes share cases by locks that {folder} does not have. Expected one process "
            "here, or a folder on a local disk; start without a launcher and without --processes."
        )


@contextmanager
def claimed(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Whether what will be written to `path` is ours to make, for as long as the block lasts.

    With `wait` only after the process that has it is done or dead. Without locks all is ours: `check_several`
    has made sure that there is one process.

    Raises:
        ConfigError: for an old filelock.
        FileError: where no lock can be written beside `path`.
    """
    _check_filelock()
    with ExitStack() as stack:
        try:
            held = stack.enter_context(locked(_lock_of(path), wait=wait))
        except OSError as error:
            raise FileError(unwritable(_lock_of(path), error)) from error
        yield held is not False


def clear(folder: Path) -> None:
    """Remove the locks of a folder, once all is done; in a folder that is closed to us they stay."""
    for path in folder.glob(f".*{_SUFFIX}"):
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _check_filelock() -> None:
    first, whole = filelock_version()
    if first < FILELOCK:
        raise ConfigError(
            f"filelock {whole} takes a folder without locks for one whose cases another process has. "
            f"Expected {FILELOCK} or later: pip install 'filelock>={FILELOCK}'"
        )


def _lock_of(path: Path) -> Path:
    return path.with_name(f".{path.name}{_SUFFIX}")


def _has_locks(folder: Path) -> bool:
    """Whether a file can be locked there; a folder that is closed to writing needs no locks."""
    if folder.is_dir() and not os.access(folder, os.W_OK):
        return True
    try:
        with locked(folder / f".probe-{os.getpid()}{_SUFFIX}", discard=True) as held:
            return held is not None
    except OSError as error:
        raise FileError(unwritable(folder, error)) from error
