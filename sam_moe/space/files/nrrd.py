"""NRRD with its voxels attached (.nrrd); a header that names other files is refused, never followed."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from sam_moe.errors import FileError
from sam_moe.explaining import nearest_first
from sam_moe.files import open_file
from sam_moe.shapes import Float, Shaped
from sam_moe.space.files.header import Header, check_header, spatial_shape
from sam_moe.space.files.payload import collect, inflate, plain
from sam_moe.space.files.text import check_positive, lps_to_ras, numbers

logger = logging.getLogger(__name__)

_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": (
        "longlong",
        "long long",
        "long long int",
        "signed long long",
        "signed long long int",
        "int64",
        "int64_t",
    ),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_KIND = {name: kind for kind, names in _TYPES.items() for name in names}
# What takes a coordinate of each space to RAS+, as signs of x, y and z.
_SPACES = {
    "right-anterior-superior": (1, 1, 1),
    "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "las": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1),
    "lps": (-1, -1, 1),
}
# All fields of the format (teem's nrrd.h), which knows no others: a name that is none of them is misspelt.
_NAMES = (
    *("content", "number", "type", "block size", "dimension", "space", "space dimension", "sizes"),
    *("spacings", "thicknesses", "axis mins", "axis maxs", "space directions", "centers", "centerings"),
    *("kinds", "labels", "units", "min", "max", "old min", "old max", "endian", "encoding", "line skip"),
    *("byte skip", "sample units", "space units", "space origin", "measurement frame", "data file"),
)
_FIELDS = {name.replace(" ", ""): name for name in _NAMES}
_MOST_HEADER_LINES = 1000


def read_nrrd_header(path: Path) -> Header:
    """Read and check the header alone."""
    with open_file(path) as file:
        return _parse(path, _fields(path, file))


def read_nrrd_voxels(path: Path, header: Header) -> Shaped[np.ndarray, "i j k"]:
    """Read the voxels as stored, along stored axes."""
    with open_file(path) as file:
        compressed = _fields(path, file)["encoding"].lower() in ("gz", "gzip")
        pieces: Iterator[bytes] = inflate(file, path) if compressed else plain(file)
        return collect(pieces, 0, header)


def _fields(path: Path, file: BinaryIO) -> dict[str, str]:
    """The header's fields, names in lower case; the file is left at the first byte after the blank line."""
    if not file.readline(100).startswith(b"NRRD00"):
        raise FileError(
            f"{path}: no NRRD header at its beginning. Expected a first line like 'NRRD0005'; the file is "
            "damaged or of another format."
        )
    fields: dict[str, str] = {}
    for _ in range(_MOST_HEADER_LINES):
        line = file.readline(100_000)
        if not line.endswith(b"\n"):
            break
        text = line.decode("latin-1").strip()
        if not text:
            return fields
        if not text.startswith("#"):
            _take(path, text, fields)
    raise FileError(
        f"{path}: the NRRD header does not end. Expected a blank line before the voxels; the file is "
        "truncated or damaged."
    )


def _take(path: Path, text: str, fields: dict[str, str]) -> None:
    """Put a line's field among the others; a pair `key:=value`, which NRRD leaves to users, stays out."""
    written, sign, value = (part.strip() for part in text.partition(":"))
    if value.startswith("="):
        return
    name = _FIELDS.get("".join(written.lower().split()), "")
    if not (sign and name):
        near = nearest_first(written.lower(), _NAMES)[0]
        raise FileError(
            f"{path}: unknown header field {written[:40]!r}; did you mean {near!r}? Expected a field of the "
            "format, 'name: value', or a pair 'key:=value'; the header is damaged or misspelt, save the scan "
            "anew."
        )
    if name == "data file":
        raise FileError(
            f"{path}: the header points to another file ({value[:200]!r}), which is not opened. "
            "Expected the voxels in the same file; save the scan as one .nrrd or .nii.gz."
        )
    if name in fields:
        raise FileError(
            f"{path}: the header has {name!r} twice. Expected it once; remove the one that is wrong."
        )
    fields[name] = value


def _parse(path: Path, fields: dict[str, str]) -> Header:
    kind = _KIND.get(fields.get("type", "").lower())
    if kind is None:
        raise FileError(
            f"{path}: type {fields.get('type')!r} is not supported. Expected one real number for each voxel, "
            "such as short or float; convert the scan to grey values."
        )
    encoding = fields.get("encoding", "").lower()
    if encoding not in ("raw", "gz", "gzip"):
        raise FileError(
            f"{path}: encoding {encoding!r} is not supported. Expected raw or gzip; save the scan anew with "
            "SimpleITK."
        )
    endian = fields.get("endian", "").lower()
    if endian not in ("little", "big") and kind[1] != "1":
        raise FileError(
            f"{path}: endian is {endian!r}. Expected little or big; add it, or save the scan anew."
        )
    for name in ("line skip", "byte skip"):
        if fields.get(name, "0") not in ("0", "-1" if encoding == "raw" and name.startswith("byte") else "0"):
            raise FileError(
                f"{path}: {name} {fields[name]} is not supported. Expected 0; save the scan anew."
            )
    count = int(numbers(path, "dimension", fields.get("dimension", ""), 1)[0])
    sizes = numbers(path, "sizes", fields.get("sizes", ""), max(count, 0))
    if count != 3 and "none" not in fields.get("space directions", "").lower():
        spatial_shape(path, sizes)  # refuses, but for a last axis of length 1
    vectors = _vectors(path, fields, sizes)
    space = [axis for axis, vector in enumerate(vectors) if vector is not None]
    # An axis without a direction in space (a list of channels) must have length 1, wherever it comes.
    shape = spatial_shape(
        path, [sizes[a] for a in space] + [n for a, n in enumerate(sizes) if a not in space]
    )
    if len(space) != 3:
        raise FileError(f"{path}: {len(space)} axes lie in space. Expected 3; save the scan anew.")
    affine: Float[np.ndarray, "4 4"] = np.eye(4)
    affine[:3, :3] = np.array([vectors[a] for a in space]).T
    if "space" in fields and "space origin" not in fields:
        logger.warning("%s: the header has a space but no space origin; 0, 0, 0 is taken, as ITK does", path)
    affine[:3, 3] = _vector(path, "space origin", fields.get("space origin", "(0,0,0)"))
    stored = np.dtype((">" if endian == "big" else "<") + kind)
    return check_header(Header(path, "NRRD", shape, stored, _to_ras(path, fields, affine)))


def _vectors(path: Path, fields: dict[str, str], sizes: list[float]) -> list[list[float] | None]:
    """For each axis its step through space, or None for an axis that has none."""
    for name in ("axis mins", "axis maxs", *(("spacings",) if "space directions" in fields else ())):
        if name in fields:
            raise FileError(
                f"{path}: the header gives the scan's place by {name!r}, which is not supported here. "
                "Expected space directions and space origin alone; save the scan anew."
            )
    if "space directions" in fields:
        words = fields["space directions"].replace(", ", ",").replace("( ", "(").replace(" )", ")").split()
        if len(words) == len(sizes):
            return [None if w.lower() == "none" else _vector(path, "space directions", w) for w in words]
        raise FileError(
            f"{path}: space directions {fields['space directions']!r} do not fit {len(sizes)} axes. Expected "
            "one vector for each; the header is damaged."
        )
    spacings = numbers(path, "spacings", fields.get("spacings", ""), len(sizes))
    check_positive(path, "spacings", spacings[:3])
    logger.warning("%s: the header has spacings but no directions; axes along its space are taken", path)
    return [[s * (axis == x) for x in range(3)] if axis < 3 else None for axis, s in enumerate(spacings)]


def _vector(path: Path, field: str, word: str) -> list[float]:
    return numbers(path, field, word.strip().removeprefix("(").removesuffix(")").replace(",", " "), 3)


def _to_ras(path: Path, fields: dict[str, str], affine: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
    for name, known in (("space units", {"mm"}), ("units", {"mm", "???"})):
        units = fields.get(name, "").replace('"', " ").split()
        if not set(units) <= known:
            raise FileError(
                f"{path}: {name} {units}. Expected mm; convert the scan's geometry to millimetres."
            )
    space = fields.get("space", "").lower()
    if space in _SPACES:
        return np.asarray(np.diag([*_SPACES[space], 1.0]) @ affine, dtype=np.float64)
    if space:
        raise FileError(
            f"{path}: space {space!r} is not supported. Expected one of {', '.join(sorted(_SPACES))}; save "
            "the scan anew."
        )
    logger.warning(
        "%s: the header names no anatomical space; left-posterior-superior is taken, as ITK does", path
    )
    return lps_to_ras(affine)
