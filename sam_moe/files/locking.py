"""Lock files: held by one process at a time, and given back by the operating system when that one dies.

What is held is a lock on the file, not the file's existence: one that a dead process left is free. By
`filelock`: flock on POSIX, msvcrt on Windows.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

# The first filelock that reports a lock that cannot be taken; before, it is one that another holds.
FILELOCK = 4

# What file systems without locks say: some network mounts, some containers' shared folders.
_NONE = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL)


@contextmanager
def locked(path: Path, *, wait: bool = False, discard: bool = False) -> Iterator[bool | None]:
    """Hold a lock file, made where it is missing: True while it is held, False where another holds it.

    None where the file system has no locks (before filelock 4 False: `filelock_version`). With `wait` only
    after the other one is done or dead. `discard` removes the file before the lock is given back, so that who
    waits for it makes a new one.

    Raises:
        OSError: where the file cannot be made; its folder must be there.
    """
    from filelock import FileLock, Timeout  # some 30 ms, which `--help` does without

    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path.parent))
    old = filelock_version()[0] < FILELOCK
    lock = FileLock(path) if old else FileLock(path, fallback_to_soft=False)
    held: bool | None = True
    try:
        lock.acquire(blocking=wait)
    except Timeout:
        held = False
    except NotImplementedError:  # filelock 3 for ENOSYS
        held = None
    except OSError as error:
        if error.errno not in _NONE:
            raise
        held = None
    try:
        yield held
    finally:
        if discard and held is not False:
            _remove(path)
        lock.release()
        if discard and held is not False and os.name == "nt":
            _remove(path)  # Windows removes no open file; elsewhere the name may be another's by now


def filelock_version() -> tuple[int, str]:
    """The first number of the installed filelock's version, and all of it.

    Before `FILELOCK` a file system without locks looks like another's lock, and waiting never ends.
    """
    text = version("filelock")
    return int(text.split(".")[0]), text


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)
