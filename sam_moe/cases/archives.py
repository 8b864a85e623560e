"""Arrays of `.npz` archives; what they claim is checked before memory is taken.

NumPy's own reader allocates what a header claims, and raises a dozen kinds of error on damaged bytes; a
case's file must not end the evaluation of the others.
"""

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from sam_moe.errors import FileError, ValuesError
from sam_moe.files import open_file
from sam_moe.shapes import Shaped
from sam_moe.space.files.header import available_memory_bytes

# Deflate makes at most 1032 bytes out of one.
MOST_INFLATED = 1032
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_LONGEST_HEADER = 10_000  # of an array's header, as NumPy has it
_PIECE = 2**24
_AXES = 3
_SUFFIX = ".npy"


def read_array(path: Path, key: str) -> tuple[Shaped[np.ndarray, "d h w"], Any]:
    """The array `key` of an archive, in native byte order, and its `spacing`; None where it has none.

    Raises:
        FileError: for what is no whole archive, has no such array, or claims more than the file or the memory
            holds; nothing is allocated before.
        ValuesError: for values that are no real numbers, pickled objects among them.
    """
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            array = _member(path, archive, key, _AXES)
            known = f"spacing{_SUFFIX}" in archive.namelist()
            return array, _member(path, archive, "spacing", 1) if known else None
    except FileError:
        raise
    except Exception as error:  # damaged bytes raise whatever they spell: ten kinds of error were met
        raise FileError(
            f"{path}: no array {key!r} can be read ({type(error).__name__}: {_one_line(error)}). Expected an "
            "archive with `imgs`, `gts` and `spacing`, not pickled; make or copy it again."
        ) from error


def _member(path: Path, archive: zipfile.ZipFile, key: str, axes: int) -> Shaped[np.ndarray, "..."]:
    info = archive.getinfo(key + _SUFFIX)
    if info.compress_type not in _METHODS:
        raise FileError(
            f"{path}: {key} is compressed by method {info.compress_type}. Expected deflate or none."
        )
    with archive.open(info) as file:
        assert isinstance(file, zipfile.ZipExtFile)
        shape, fortran, kind = _header(file)
        if kind.hasobject or kind.kind not in "iufb":
            raise ValuesError(
                f"{path}: {key} has values of type {kind}. Expected numbers, not pickled objects."
            )
        if len(shape) != axes and not (axes == 1 and len(shape) < _AXES):
            raise FileError(f"{path}: {key} has shape {shape}. Expected one volume (D, H, W).")
        size = math.prod(shape) * kind.itemsize
        _check_size(path, key, size, info)
        found = np.zeros(size, np.uint8)  # takes no memory until it is filled
        _fill(path, key, file, found)
    array = found.view(kind).reshape(shape, order="F" if fortran else "C")
    return array if kind.isnative else array.astype(kind.newbyteorder("="))


def _header(file: zipfile.ZipExtFile) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"version {version} of the .npy format")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, kind = read(file, max_header_size=_LONGEST_HEADER)
    if any(n < 0 for n in shape):
        raise ValueError(f"shape {shape}")
    return shape, fortran, kind


def _check_size(path: Path, key: str, size: int, info: zipfile.ZipInfo) -> None:
    """Refuse a claim that the archive cannot keep, or that no memory here holds."""
    if size > info.file_size or info.file_size > info.compress_size * MOST_INFLATED:
        raise FileError(
            f"{path}: {key} claims {size:,} bytes, and the archive has {info.compress_size:,} for it. "
            "Expected all of them; the file is damaged or no archive of NumPy, make it again."
        )
    limit = available_memory_bytes()
    if limit is not None and 2 * size > limit:  # it is turned, which takes it twice
        raise FileError(
            f"{path}: reading {key} would take {2 * size / 2**30:.2f} GiB, more than the "
            f"{limit / 2**30:.2f} GiB that are free. Expected a volume that fits in memory; crop it."
        )


def _fill(path: Path, key: str, file: zipfile.ZipExtFile, found: Shaped[np.ndarray, " n"]) -> None:
    """Read exactly the bytes that the header promises; the checksum is verified at the end of the stream."""
    at = 0
    while at < len(found):
        piece = file.read(min(_PIECE, len(found) - at))
        if not piece:
            raise FileError(
                f"{path}: {key} is cut short. Expected {len(found):,} bytes; copy the file again."
            )
        found[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
        at += len(piece)
    if file.read(1):
        raise FileError(
            f"{path}: {key} is followed by other bytes. Expected its values alone; make it again."
        )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
