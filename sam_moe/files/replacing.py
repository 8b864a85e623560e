"""Files are replaced in one step, and what killed processes left is removed.

Everything that the package writes is made in a folder beside its place, whose name begins with `.sam-moe-`,
and moved out of it when it is whole. A lock file beside the folder, made before it and removed after it, is
held as long as it is written to; so `sweep` knows leftovers from work in progress.
"""

import errno
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from sam_moe.errors import FileError
from sam_moe.files.locking import locked
from sam_moe.files.opening import check_ordinary, in_words, shown

PREFIX = ".sam-moe-"
_LOCK = ".lock"
_NAMES = 20  # how many new names are tried where each one's lock is another's


@contextmanager
def replacing(path: Path | str, failures: tuple[type[Exception], ...] = ()) -> Iterator[Path]:
    """Where to write a new file of the same name, which takes the place of `path` when the block ends.

    Whatever fails, what was at `path` stays, and nothing is left beside it. The rights are those of the file
    that it replaces, else what the umask allows. `failures` are the errors that the writer raises for a
    full disk beside OSError: safetensors, torch and SimpleITK have their own.

    Raises:
        FileError: where the file cannot be written; one line with the remedy.
    """
    path = Path(path)
    mode = _mode_of(path)
    with _aside(path) as aside:
        new = aside / path.name
        try:
            yield new
            new.chmod(mode if mode is not None else _allowed(aside))
            os.replace(new, path)
        except Exception as error:
            if not isinstance(error, (OSError, *failures)):
                raise
            raise FileError(unwritable(path, error)) from error


def replace_text(path: Path | str, text: str) -> None:
    """Write a text file in UTF-8 in one step: a reader sees the old file or the new one, never a half.

    Raises:
        FileError: as `replacing`.
    """
    replace_bytes(path, text.encode("utf-8"))


def replace_bytes(path: Path | str, content: bytes) -> None:
    """Write a file in one step.

    Raises:
        FileError: as `replacing`.
    """
    with replacing(path) as new:
        new.write_bytes(content)


@contextmanager
def new_folder(path: Path | str) -> Iterator[Path]:
    """A new folder to fill; it gets the name `path`, which must be free, when the block ends.

    Raises:
        FileError: where it cannot be written or the name is taken; nothing is left behind.
    """
    path = Path(path)
    with _aside(path) as aside:
        new = aside / path.name
        try:
            new.mkdir()
            yield new
            if os.path.lexists(path):
                raise FileError(f"{shown(path)}: is there already. Expected a free name; choose another one.")
            new.rename(path)
        except OSError as error:
            raise FileError(unwritable(path, error)) from error


def make_folder(path: Path | str) -> None:
    """Make a folder and those above it, if need be.

    Raises:
        FileError: where that is not possible.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise FileError(f"{shown(path)}: is a file. Expected a folder; choose another name.") from error
    except (OSError, ValueError) as error:
        raise FileError(unwritable(path, error)) from error


def check_writable(folder: Path | str) -> None:
    """See that files can be made in a folder, or in the nearest one above it that exists: before the work.

    Raises:
        FileError: where they cannot.
    """
    place = Path(folder)
    try:
        while not place.exists() and place != place.parent:
            place = place.parent
        if not place.is_dir():
            which = shown(place) if place == Path(folder) else f"{shown(folder)}: {shown(place)}"
            raise FileError(f"{which}: is a file. Expected a folder; choose another name.")
        sweep(place)  # what was killed while it looked left its folder here, above the one asked for
        with _aside(place / "probe", asked=Path(folder)):
            pass
    except (OSError, ValueError) as error:
        raise FileError(unwritable(folder, error)) from error


def withdraw(path: Path | str) -> None:
    """Remove a file that no longer holds, if it is there.

    Raises:
        FileError: where it cannot be removed.
    """
    try:
        Path(path).unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        raise FileError(
            f"{shown(path)}: cannot be removed ({in_words(error)}). Expected a folder with write permission."
        ) from error


def sweep(folder: Path | str) -> None:
    """Remove what killed processes left half written in a folder; what a living one writes stays.

    A folder that is not there, or closed to us, is left as it is. Without locks nothing is removed.
    """
    with suppress(OSError):
        left = {path.with_name(path.name.removesuffix(_LOCK)) for path in Path(folder).glob(f"{PREFIX}*")}
        for path in left:
            with suppress(OSError), locked(_lock_of(path), discard=True) as held:
                if held:
                    shutil.rmtree(path, ignore_errors=True)


def unwritable(path: Path | str, error: Exception) -> str:
    """One line on why a path cannot be written, and what to do."""
    return (
        f"{shown(path)}: cannot be written ({in_words(error)}). Expected a folder with write permission "
        "and free space; what was there before is untouched."
    )


@contextmanager
def _aside(path: Path, asked: Path | None = None) -> Iterator[Path]:
    """A folder beside `path` with its lock held, removed when the block ends; errors name `asked`."""
    with ExitStack() as held:
        try:
            aside = _new_name(path.parent, held)
            aside.mkdir()
            held.callback(shutil.rmtree, aside, ignore_errors=True)
        except (OSError, ValueError) as error:
            raise FileError(unwritable(asked, error) if asked else _no_place(path, error)) from error
        yield aside


def _new_name(folder: Path, held: ExitStack) -> Path:
    """A new name with its lock held; without it where no lock can be taken, for whatever reason.

    Nothing is waited for: only a sweeper takes the lock of a new name, and removes it. Then another is tried.
    """
    for _ in range(_NAMES):
        aside = folder / f"{PREFIX}{uuid.uuid4().hex}"
        ours: bool | None = None
        with suppress(OSError):  # in a folder that is closed to us making the new one names the reason
            ours = held.enter_context(locked(_lock_of(aside), discard=True))
        if ours:
            break
        with suppress(OSError):
            _lock_of(aside).unlink(missing_ok=True)
        if ours is None:
            break
    return aside


def _lock_of(aside: Path) -> Path:
    return aside.with_name(aside.name + _LOCK)


def _mode_of(path: Path) -> int | None:
    """The rights of the file that is there; None where there is none."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise FileError(unwritable(path, error)) from error
    if stat.S_ISLNK(found.st_mode):
        return None
    check_ordinary(path, found)
    return stat.S_IMODE(found.st_mode)


def _allowed(made: Path) -> int:
    """The rights that the umask leaves to a new file, seen by a folder; safetensors gives its files fewer."""
    return stat.S_IMODE(made.stat().st_mode) & 0o666


def _no_place(path: Path, error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.ENOENT, errno.ENOTDIR):
        return f"{shown(path)}: no such folder {shown(path.parent)}. Expected an existing one; make it first."
    return unwritable(path, error)
