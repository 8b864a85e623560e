"""Standard streams that end no run: closed, on a full disk, or of an encoding that lacks a letter."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Lost:
    """Why something could not be written to standard output; None while all of it was."""

    reason: OSError | None = None


@contextmanager
def sturdy_streams() -> Iterator[Lost]:
    """Standard output and error for the length of a run, which an error in writing to them does not end.

    Letters that the encoding lacks are written as escapes. What cannot be written is dropped; of standard
    output the reason is kept for the caller. A reader of standard output who has gone away still ends the
    run, with BrokenPipeError.
    """
    _open_closed_descriptors()
    lost = Lost()
    before = sys.stdout, sys.stderr
    sys.stdout = _sturdy(sys.stdout, lost, is_error=False)
    sys.stderr = _sturdy(sys.stderr, lost, is_error=True)
    try:
        yield lost
    finally:
        for stream in (sys.stdout, sys.stderr):
            if not stream.closed:
                stream.flush()
        sys.stdout, sys.stderr = before


def _open_closed_descriptors() -> None:
    """Give descriptors 0 to 2 back to the null device where they are closed.

    Else the next file that is opened gets one of these numbers, and what a C library complains of is written
    into a scan's mask.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            found = os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)
            if found != number:
                os.dup2(found, number)
                os.close(found)


def _sturdy(stream: Any, lost: Lost, is_error: bool) -> Any:
    if stream is None or stream.closed:  # pythonw, a daemon, or `>&-`
        return Path(os.devnull).open("w", encoding="utf-8")
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)  # Python may have been asked not to buffer
    if not isinstance(raw, io.FileIO):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
        return stream  # somebody's own, who knows what it takes
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Sturdy(raw, lost, is_error)),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering or is_error,
    )


class _Sturdy(io.RawIOBase):
    """Writes where another stream does, and takes note of an error instead of raising it."""

    def __init__(self, raw: io.FileIO, lost: Lost, is_error: bool) -> None:
        self._raw, self._lost, self._is_error = raw, lost, is_error
        self._gone = False
        self.name, self.mode = raw.name, raw.mode

    def writable(self) -> bool:
        """Yes."""
        return True

    def fileno(self) -> int:
        """The other's descriptor."""
        return self._raw.fileno()

    def isatty(self) -> bool:
        """Whether the other is a terminal."""
        return self._raw.isatty()

    def write(self, data: Any) -> int:
        """Write, or drop what cannot be written."""
        try:
            if not self._gone:
                return self._raw.write(data) or 0
        except OSError as error:
            self._gone = True
            if isinstance(error, BrokenPipeError) and not self._is_error:
                raise
            if not self._is_error:
                self._lost.reason = error
        return memoryview(data).nbytes

    def close(self) -> None:
        """Leave the other's descriptor open."""
