"""NIfTI-1 and NIfTI-2 in single files: the header by nibabel, checked before anything is believed."""

import itertools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import nibabel
import numpy as np
from nibabel.spatialimages import HeaderDataError

from sam_moe.errors import FileError
from sam_moe.files import open_file
from sam_moe.shapes import Float, Shaped
from sam_moe.space.files.header import Header, check_header, spatial_shape
from sam_moe.space.files.payload import GZIP_MAGIC, collect, inflate, plain
from sam_moe.space.grid import Grid

logger = logging.getLogger(__name__)
nib: Any = nibabel  # its signatures have no types

_UNIT_MM = {"unknown": 1.0, "mm": 1.0, "meter": 1000.0, "micron": 0.001}
_MOST_EXTENSION_BYTES = 2**30
_LONG_QUATERNION, _FLOAT32_NOISE = 1e-3, 1e-6


def read_nifti_header(path: Path) -> Header:
    """Read and check the header alone."""
    with open_file(path) as file:
        return _parse(path, _start(path, file)[0])[0]


def read_nifti_voxels(path: Path, header: Header) -> Shaped[np.ndarray, "i j k"]:
    """Read the voxels as stored, along stored axes."""
    with open_file(path) as file:
        start, pieces = _start(path, file)
        return collect(pieces, _parse(path, start)[1], header)


def _start(path: Path, file: BinaryIO) -> tuple[bytes, Iterator[bytes]]:
    """The first bytes, and all bytes in pieces; compression is read off the bytes, not the name."""
    compressed = file.read(2) == GZIP_MAGIC
    file.seek(0)
    pieces = inflate(file, path) if compressed else plain(file)
    start, seen = b"", []
    for piece in pieces:
        seen.append(piece)
        start += piece
        if len(start) >= 544:
            break
    return start, itertools.chain(seen, pieces)


def _parse(path: Path, start: bytes) -> tuple[Header, int]:
    """The checked header and where the voxels begin."""
    raw = _raw_header(path, start)
    try:
        stored = raw.get_data_dtype()
        slope, inter = raw.get_slope_inter()
    except (HeaderDataError, KeyError) as error:
        raise FileError(
            f"{path}: the header holds an unknown type or scaling ({error}). Expected a NIfTI data type and "
            "a finite slope and intercept; export the scan again."
        ) from error
    offset = float(raw["vox_offset"])
    least = raw.single_vox_offset
    if not least <= offset <= _MOST_EXTENSION_BYTES:
        raise FileError(
            f"{path}: the header says that voxels begin at byte {offset:g} (vox_offset). Expected at least "
            f"{least} and within the file; the header is damaged, export the scan again."
        )
    count = int(raw["dim"][0])
    if not 1 <= count <= 7:
        raise FileError(
            f"{path}: {count} dimensions (dim[0]). Expected 1 to 7; this is no sound NIfTI header."
        )
    shape = spatial_shape(path, raw["dim"][1 : count + 1].tolist())
    pixdim = np.array(raw["pixdim"][1:4], dtype=np.float64)
    if not (np.isfinite(pixdim) & (pixdim > 0)).all():
        raise FileError(
            f"{path}: voxel sizes (pixdim) {pixdim.tolist()} are unusable. Expected three positive numbers; "
            "write the true voxel sizes into the header or export the scan again."
        )
    identity = slope is None or (slope == 1 and inter in (0, None))
    scale = None if identity else (float(slope), float(inter or 0))
    header = Header(path, "NIfTI", shape, stored, _affine(path, raw, shape), scale)
    return check_header(header), int(offset)


def _raw_header(path: Path, start: bytes) -> Any:
    for kind, length in ((nib.Nifti1Header, 348), (nib.Nifti2Header, 540)):
        if len(start) < length:
            continue
        raw = kind(start[:length], check=False)
        if int(raw["sizeof_hdr"]) != length:
            continue
        if raw["magic"].item() in (b"ni1", b"ni2"):
            raise FileError(
                f"{path}: the header of a .hdr/.img pair, the voxels lie in another file. Expected header "
                "and voxels in one file; save the scan as .nii.gz."
            )
        if length == 540 and raw["eol_check"].tolist() not in ([13, 10, 26, 10], [0, 0, 0, 0]):
            raise FileError(
                f"{path}: its line ends were changed on the way, as a transfer of text does. Expected the "
                "bytes as they were written; copy the file again, as binary."
            )
        if raw["magic"].item() in (b"n+1", b"n+2"):
            return raw
    raise FileError(
        f"{path}: no NIfTI header at its beginning ({len(start):,} bytes seen). Expected a .nii or .nii.gz "
        "file; the file is truncated, damaged or of another format."
    )


def _affine(path: Path, raw: Any, shape: tuple[int, int, int]) -> Float[np.ndarray, "4 4"]:
    """The sform, else the qform, else nibabel's convention; in millimetres."""
    try:
        unit = raw.get_xyzt_units()[0]
    except KeyError as error:
        raise _no_orientation(path, error) from error
    sform = raw.get_sform() if raw["sform_code"] > 0 else None
    qform = None
    if raw["qform_code"] > 0:
        try:
            qform = _qform(path, raw)
        except (HeaderDataError, ValueError, np.linalg.LinAlgError) as error:
            if sform is None:
                raise _no_orientation(path, error) from error
            logger.warning("%s: the qform cannot be computed (%s); the sform is used", path, error)
    if sform is None and qform is None:
        affine = raw.get_base_affine()
        logger.warning(
            "%s: neither sform nor qform, so the scan's place is unknown; taking nibabel's convention (the "
            "middle of the volume at 0 mm, first axis to the left, spacing from pixdim): %s",
            path,
            Grid(affine, shape),
        )
    else:
        affine = qform if sform is None else sform
    if sform is not None and qform is not None:
        _warn_of_two_forms(path, sform, qform, shape)
    if unit not in _UNIT_MM:
        raise FileError(
            f"{path}: unknown unit of length {unit!r}. Expected mm, meter or micron; export it again."
        )
    if _UNIT_MM[unit] != 1:
        logger.warning("%s: the header's unit is %s; converted to millimetres", path, unit)
    return np.diag([*[_UNIT_MM[unit]] * 3, 1.0]) @ np.asarray(affine, dtype=np.float64)


def _qform(path: Path, raw: Any) -> Float[np.ndarray, "4 4"]:
    """The qform; a quaternion that rounding left a hair too long is shortened.

    The standard's own reader shortens any; beyond a thousandth it is no rounding. It takes the sign of
    pixdim[0] for the handedness, and 0 for right-handed, as do we (its `nifti_quatern_to_mat44`).
    """
    raw = raw.copy()
    handedness = float(raw["pixdim"][0])
    if not np.isfinite(handedness):
        raise HeaderDataError(f"pixdim[0] is {handedness}, no handedness")
    if handedness not in (-1, 0, 1):
        logger.warning("%s: pixdim[0] is %g, neither 1 nor -1; its sign is taken", path, handedness)
    raw["pixdim"][0] = -1.0 if handedness < 0 else 1.0
    names = ("quatern_b", "quatern_c", "quatern_d")
    turn = np.array([float(raw[name]) for name in names])
    length = float(np.linalg.norm(turn))
    if 1 < length <= 1 + _LONG_QUATERNION:
        if length > 1 + _FLOAT32_NOISE:
            logger.warning("%s: the qform's quaternion is %.2g too long; shortened", path, length - 1)
        for name, part in zip(names, turn / length * (1 - 1e-7), strict=True):  # a float32 below 1
            raw[name] = part
    return np.asarray(raw.get_qform(), dtype=np.float64)


def _no_orientation(path: Path, error: Exception) -> FileError:
    return FileError(
        f"{path}: the header's orientation cannot be computed ({error}). Expected a unit quaternion and "
        "known units; the header is damaged, export the scan again."
    )


def _warn_of_two_forms(
    path: Path, sform: Float[np.ndarray, "4 4"], qform: Float[np.ndarray, "4 4"], shape: tuple[int, int, int]
) -> None:
    if not all(np.isfinite(form).all() and abs(np.linalg.det(form)) > 1e-12 for form in (sform, qform)):
        return  # the one that is used is checked anyway
    corners = np.array([[i, j, k] for i in (0, shape[0]) for j in (0, shape[1]) for k in (0, shape[2])])
    moved = (np.linalg.inv(sform) @ qform)[:3]
    apart = float(np.abs(corners @ moved[:, :3].T + moved[:, 3] - corners).max())
    if apart > 1e-3:
        logger.warning("%s: sform and qform lie up to %.3g voxels apart; the sform is used", path, apart)
