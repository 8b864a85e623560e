"""The bytes of the voxels: exactly as many as the header promises, checksums verified, or an error."""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from sam_moe.errors import FileError
from sam_moe.shapes import Shaped
from sam_moe.space.files.header import Header

_PIECE = 2**20
# What is given to zlib at a time: at the end of each stream it copies the rest of it, and a file may hold
# fifty thousand empty streams a megabyte.
_SIP = 2**13
GZIP_MAGIC = b"\x1f\x8b"


def plain(file: BinaryIO) -> Iterator[bytes]:
    """Yield the rest of a file in pieces."""
    while piece := file.read(_PIECE):
        yield piece


def inflate(file: BinaryIO, path: Path) -> Iterator[bytes]:
    """Yield the rest of a file, gzip or zlib, decompressed in pieces of bounded size.

    Raises:
        FileError: where the stream is damaged, ends early, fails its checksum or is followed by other bytes.
    """
    stream = zlib.decompressobj(wbits=47)  # 47: gzip or zlib, whichever it is
    waiting = b""
    while True:
        waiting = waiting or file.read(_SIP)
        try:
            piece = stream.decompress(waiting, _PIECE)
        except zlib.error as error:
            raise FileError(
                f"{path}: the compressed data are damaged ({error}). Expected a stream that passes its "
                "checksum; copy or download the file again."
            ) from error
        if not (waiting or piece or stream.eof):
            raise FileError(
                f"{path}: the compressed data end early, the file is truncated. Expected the end of the "
                "stream; copy or download the file again."
            )
        if piece:
            yield piece
        waiting = stream.unconsumed_tail
        if stream.eof:
            waiting = _next_stream(file, stream.unused_data, path)
            if not waiting:
                return
            stream = zlib.decompressobj(wbits=47)


def _next_stream(file: BinaryIO, rest: bytes, path: Path) -> bytes:
    """The beginning of a further gzip stream, or nothing at the file's end; padding with zeros is skipped."""
    rest = rest.lstrip(b"\0")
    while len(rest) < len(GZIP_MAGIC) and (piece := file.read(_SIP)):
        rest = (rest + piece).lstrip(b"\0")
    if rest and not rest.startswith(GZIP_MAGIC):
        raise FileError(
            f"{path}: the compressed data are followed by other bytes. Expected the end of the file; copy or "
            "download the file again."
        )
    return rest


def collect(pieces: Iterator[bytes], offset: int, header: Header) -> Shaped[np.ndarray, "i j k"]:
    """Gather the voxels that begin `offset` bytes into the stream; i runs fastest, as in all our formats.

    Raises:
        FileError: where the stream holds fewer or more bytes than the header's shape and type need.
    """
    wanted = header.data_bytes
    voxels = np.zeros(wanted, np.uint8)  # takes no memory until it is filled
    buffer = voxels.data
    position = -offset
    for piece in pieces:
        begin, end = max(position, 0), min(position + len(piece), wanted)
        if end > begin:
            buffer[begin:end] = piece[begin - position : end - position]
        position += len(piece)
        if position > wanted:
            raise FileError(
                f"{header.path}: the file holds more bytes than the {wanted:,} that shape {header.shape} of "
                f"{header.stored.name} needs. Expected exactly as many; the header is damaged or the file is "
                "not what it says, export the scan again."
            )
    if position < wanted:
        raise FileError(
            f"{header.path}: the file is truncated, {max(position, 0):,} bytes of voxels where shape "
            f"{header.shape} of {header.stored.name} needs {wanted:,} from byte {offset:,} on. Expected all "
            "of them; copy or download the file again."
        )
    return voxels.view(header.stored).reshape(header.shape, order="F")
