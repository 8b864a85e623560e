"""MetaImage with its voxels attached (.mha); a header that names other files is refused, never followed."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from sam_moe.errors import FileError, GeometryError
from sam_moe.files import open_file
from sam_moe.shapes import Float, Shaped
from sam_moe.space.files.header import Header, check_header, spatial_shape
from sam_moe.space.files.payload import collect, inflate, plain
from sam_moe.space.files.text import check_positive, lps_to_ras, numbers, one_edit_apart

logger = logging.getLogger(__name__)

_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
# The first name is the one that SimpleITK writes; the others are older names for the same.
_DIRECTION = ("TransformMatrix", "Rotation", "Orientation")
_ORIGIN = ("Offset", "Position", "Origin")
_BIG = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
_MOST_HEADER_LINES = 1000
_LONG_AXIS = 1e-3
# Values that change what the numbers mean and that no current writer uses: anything else is refused.
_ONLY = {
    "BinaryData": "True",
    "HeaderSize": "0",
    "ElementNumberOfChannels": "1",
    "ElementToIntensityFunctionSlope": "1",
    "ElementToIntensityFunctionOffset": "0",
    "DistanceUnits": "mm",
}


# Without one of a group the format takes a default, so that a misspelt name would move the scan unseen.
_DEFAULTED = (_DIRECTION, _ORIGIN, _BIG, ("CompressedData",), *((name,) for name in _ONLY))
_KNOWN = {name for group in _DEFAULTED for name in group}


def read_metaimage_header(path: Path) -> Header:
    """Read and check the header alone."""
    with open_file(path) as file:
        return _parse(path, _fields(path, file))


def read_metaimage_voxels(path: Path, header: Header) -> Shaped[np.ndarray, "i j k"]:
    """Read the voxels as stored, along stored axes."""
    with open_file(path) as file:
        fields = _fields(path, file)
        compressed = fields.get("CompressedData", "False").lower() == "true"
        pieces: Iterator[bytes] = inflate(file, path) if compressed else plain(file)
        return collect(pieces, 0, header)


def _fields(path: Path, file: BinaryIO) -> dict[str, str]:
    """The header's fields; the file is left at the first byte after them."""
    fields: dict[str, str] = {}
    for _ in range(_MOST_HEADER_LINES):
        line = file.readline(10_000).decode("latin-1")
        name, sign, value = line.partition("=")
        if not sign:
            break
        fields[name.strip()] = value.strip()
        if name.strip() == "ElementDataFile":
            return fields
    raise FileError(
        f"{path}: no MetaImage header at its beginning. Expected lines 'Name = value' up to 'ElementDataFile "
        "= LOCAL'; the file is truncated, damaged or of another format."
    )


def _parse(path: Path, fields: dict[str, str]) -> Header:
    if fields["ElementDataFile"].upper() != "LOCAL":
        raise FileError(
            f"{path}: the header points to another file ({fields['ElementDataFile']!r}), which is not "
            "opened. Expected 'ElementDataFile = LOCAL', the voxels in the same file; save the scan as one "
            ".mha or .nii.gz."
        )
    _check_names(path, fields)
    for name, only in _ONLY.items():
        value = fields.get(name, only)
        if value.lower() != only.lower() and not _equal_numbers(value, only):
            raise FileError(
                f"{path}: {name} = {value} is not supported. Expected {only}; save the scan anew with "
                "SimpleITK."
            )
    kind = fields.get("ElementType", "")
    if kind not in _TYPES:
        raise FileError(
            f"{path}: ElementType = {kind!r} is not supported. Expected one real number for each voxel "
            f"({', '.join(_TYPES)}); convert the scan to grey values."
        )
    big = _first(fields, _BIG, "False").lower() == "true"
    count = int(numbers(path, "NDims", fields.get("NDims", ""), 1)[0])
    if not 1 <= count <= 10:
        raise FileError(f"{path}: NDims = {count}. Expected 3; the header is damaged.")
    sizes = numbers(path, "DimSize", fields.get("DimSize", ""), count)
    shape = spatial_shape(path, sizes)
    spacing = numbers(path, "ElementSpacing", fields.get("ElementSpacing", ""), count)[:3]
    check_positive(path, "ElementSpacing", spacing)
    for names in (_DIRECTION, _ORIGIN):
        if not any(name in fields for name in names):
            logger.warning(
                "%s: the header has no %s; zero, or axes to the left, back and head, is taken", path, names[0]
            )
    identity = " ".join(str(int(row == column)) for row in range(count) for column in range(count))
    rows = numbers(path, _DIRECTION[0], _first(fields, _DIRECTION, identity), count * count)
    origin = numbers(path, _ORIGIN[0], _first(fields, _ORIGIN, "0 " * count), count)
    lengths = np.linalg.norm(np.array(rows).reshape(count, count)[:3, :3], axis=1)
    if np.abs(lengths - 1).max() > _LONG_AXIS:
        raise GeometryError(
            f"{path}: {_DIRECTION[0]} has axes of length {lengths.tolist()}. Expected unit vectors, as the "
            "distances of voxels stand in ElementSpacing; save the scan anew."
        )
    affine: Float[np.ndarray, "4 4"] = np.eye(4)
    affine[:3, :3] = np.array(rows).reshape(count, count)[:3, :3].T * spacing  # one row for each voxel axis
    affine[:3, 3] = origin[:3]
    stored = np.dtype((">" if big else "<") + _TYPES[kind])
    return check_header(Header(path, "MHA", shape, stored, lps_to_ras(affine)))


def _check_names(path: Path, fields: dict[str, str]) -> None:
    """Refuse a name that looks like a misspelt one, where that one is missing; others are anybody's own."""
    missing = [name for group in _DEFAULTED if not any(name in fields for name in group) for name in group]
    for name in fields.keys() - _KNOWN:
        near = next((other for other in missing if one_edit_apart(name, other)), None)
        if near is not None:
            raise FileError(
                f"{path}: unknown header field {name[:40]!r}; did you mean {near!r}? Expected names as "
                "MetaImage spells them; the header is damaged or misspelt, save the scan anew."
            )


def _first(fields: dict[str, str], names: tuple[str, ...], default: str) -> str:
    return next((fields[name] for name in names if name in fields), default)


def _equal_numbers(value: str, only: str) -> bool:
    try:
        return float(value) == float(only)
    except ValueError:
        return False
