"""Only ordinary files are opened: a pipe, a device or a socket could make one wait for ever."""

import errno
import hashlib
import os
import stat
from io import BufferedReader
from pathlib import Path

from sam_moe.errors import FileError, SamMoeError

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def open_file(path: Path | str, error_class: type[SamMoeError] = FileError) -> BufferedReader:
    """Open an ordinary file for reading bytes; a pipe, a device or a socket could make one wait for ever.

    Raises:
        error_class: for what is missing, closed to us, or no ordinary file; one line with the remedy.
    """
    try:
        check_ordinary(path, Path(path).stat(), error_class)
        # Without waiting, should a pipe have taken the file's place since
        number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        file = os.fdopen(number, "rb")
    except (OSError, ValueError) as error:
        raise error_class(unreadable(path, error)) from error
    try:
        check_ordinary(path, os.fstat(file.fileno()), error_class)
    except SamMoeError:
        file.close()
        raise
    return file


def read_bytes(
    path: Path | str, error_class: type[SamMoeError] = FileError, most: int = 256 * 2**20
) -> bytes:
    """The bytes of an ordinary file that holds at most `most` of them.

    Raises:
        error_class: as `open_file`, and for a longer file.
    """
    with open_file(path, error_class) as file:
        try:
            found = file.read(most + 1)
        except OSError as error:
            raise error_class(unreadable(path, error)) from error
    if len(found) > most:
        raise error_class(
            f"{shown(path)}: is longer than {most:,} bytes. Expected a smaller file; check path."
        )
    return found


def sha256_of(path: Path | str, error_class: type[SamMoeError] = FileError) -> str:
    """The SHA-256 of a file, as 64 hexadecimal digits.

    Raises:
        error_class: as `open_file`.
    """
    with open_file(path, error_class) as file:
        try:
            return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise error_class(unreadable(path, error)) from error


def check_ordinary(
    path: Path | str, found: os.stat_result, error_class: type[SamMoeError] = FileError
) -> None:
    """Refuse what is no ordinary file.

    Raises:
        error_class: naming what it is.
    """
    if not stat.S_ISREG(found.st_mode):
        kind = next((name for test, name in _KINDS if test(found.st_mode)), "something else")
        raise error_class(f"{shown(path)}: is {kind}. Expected an ordinary file; check the path.")


def unreadable(path: Path | str, error: Exception) -> str:
    """One line on why a path cannot be read, and what to do."""
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.ENOENT, errno.ENOTDIR):
        return f"{shown(path)}: no such file. Give the path of an existing file."
    if number in (errno.EACCES, errno.EPERM):
        return f"{shown(path)}: no permission to read it. Expected a readable file; change its permissions."
    if number == errno.ELOOP:
        return f"{shown(path)}: a link that leads back to itself. Expected a file; remove or mend the link."
    return (
        f"{shown(path)}: cannot be read ({in_words(error)}). Expected a readable file; check path and disk."
    )


def shown(path: Path | str) -> str:
    """A path as it can be shown in one line, whatever characters are in it."""
    text = os.fspath(path).encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )


def in_words(error: Exception) -> str:
    """An error's message in one line: the system's words, or the last line of a library's."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
