"""NRRD with its voxels attached (.nrrd); a header that names other files is refused, never followed."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from sam_moe.errors import FileError
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
        name, sign, value = text.partition(":")
        if sign and not text.startswith("#") and not value.startswith("="):
            fields[name.strip().lower()] = value.strip()
        if name.strip().lower() in ("data file", "datafile"):
            raise FileError(
                f"{path}: the header points to another file ({value.strip()!r}), which is not opened. "
                "Expected the voxels in the same file; save the scan as one .nrrd or .nii.gz."
            )
    raise FileError(
        f"{path}: the NRRD header does not end. Expected a blank line before the voxels; the file is "
        "truncated or damaged."
    )


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
    for name in ("line skip", "lineskip", "byte skip", "byteskip"):
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
    affine[:3, 3] = _vector(path, "space origin", fields.get("space origin", "(0,0,0)"))
    stored = np.dtype((">" if endian == "big" else "<") + kind)
    return check_header(Header(path, "NRRD", shape, stored, _to_ras(path, fields, affine)))


def _vectors(path: Path, fields: dict[str, str], sizes: list[float]) -> list[list[float] | None]:
    """For each axis its step through space, or None for an axis that has none."""
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
    units = fields.get("space units", "").replace('"', " ").split()
    if any(unit != "mm" for unit in units):
        raise FileError(
            f"{path}: space units {units}. Expected mm; convert the scan's geometry to millimetres."
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
