"""`read`: the one door through which volumes come in, whatever their format."""

import hashlib
import logging
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from sam_moe.errors import FileError, ValuesError
from sam_moe.files import open_file, unreadable
from sam_moe.shapes import Shaped
from sam_moe.space.files.dicom import looks_like_dicom, read_dicom_header, read_dicom_voxels
from sam_moe.space.files.header import Header, check_memory
from sam_moe.space.files.metaimage import read_metaimage_header, read_metaimage_voxels
from sam_moe.space.files.nifti import read_nifti_header, read_nifti_voxels
from sam_moe.space.files.nrrd import read_nrrd_header, read_nrrd_voxels
from sam_moe.space.padding import without_padding
from sam_moe.space.volume import Volume

logger = logging.getLogger(__name__)

_SLAB = 16  # slices that are converted or checked at a time


class _Format(NamedTuple):
    header: Callable[[Path], Header]
    voxels: Callable[[Path, Header], Shaped[np.ndarray, "i j k"]]


_NIFTI = _Format(read_nifti_header, read_nifti_voxels)
_FORMATS = {
    ".nii": _NIFTI,
    ".nii.gz": _NIFTI,
    ".nrrd": _Format(read_nrrd_header, read_nrrd_voxels),
    ".mha": _Format(read_metaimage_header, read_metaimage_voxels),
}
_DICOM = _Format(read_dicom_header, read_dicom_voxels)
_PAIRS = (".mhd", ".nhdr", ".hdr", ".img", ".raw")
_LFS = b"version https://git-lfs"


def read(path: str | Path, memory_limit_bytes: int | None = None, *, quiet: bool = False) -> Volume:
    """Read a scan or a label map as stored, indexed (i, j, k), on its grid in RAS+ millimetres.

    The array keeps the stored type where torch computes with it; unsigned 16 and 32 bits become int32 and
    int64, double precision and scaled values float32. A constant image, an empty mask too, is read, with a
    warning in the log. What is padding, and no image, becomes the least value that was measured
    (`space.padding`).

    Args:
        path: NIfTI (.nii, .nii.gz), NRRD, MHA, or a DICOM series: its folder or one file of it.
        memory_limit_bytes: what reading may take, as estimated from the header before a voxel is read; by
            default what this machine has available.
        quiet: leave out the warning of a constant image, for a caller that sees to it.

    Raises:
        FileError, GeometryError: for everything that would make a wrong volume; one line, with the remedy.
    """
    path = Path(path)
    header = read_header(path)
    check_memory(header, memory_limit_bytes)
    form = _format_of(path)
    try:
        array = _converted(header, form.voxels(path, header))
    except OSError as error:
        raise FileError(unreadable(path, error)) from error
    except MemoryError as error:
        raise FileError(
            f"{path}: not enough memory to read it. Expected {header.memory_bytes / 2**30:.2f} GiB to be "
            "free; crop or resample the scan."
        ) from error
    _check_values(path, array, quiet)
    return without_padding(Volume(torch.from_numpy(array), header.grid), in_place=True)


def read_header(path: str | Path) -> Header:
    """Read and check a file's header, without reading a voxel.

    Raises:
        FileError, GeometryError: as `read`, but for what only the voxels would show.
    """
    path = Path(path)
    form = _format_of(path)
    try:
        return form.header(path)
    except OSError as error:
        raise FileError(unreadable(path, error)) from error


def fingerprint(volume: Volume) -> str:
    """Name a volume by its content: a sha256 over type, grid and numbers.

    Ours; the key of caches. The layout in memory does not count.
    """
    grid = volume.grid
    digest = hashlib.sha256(f"{volume.array.dtype} {grid.shape} ".encode())
    digest.update(struct.pack("<16d", *(grid.affine + 0.0).ravel()))  # + 0.0 makes -0.0 the same as 0.0
    for k in range(0, grid.shape[2], _SLAB):
        # i runs fastest, as in arrays that come from files
        part = volume.array[:, :, k : k + _SLAB].detach().cpu().permute(2, 1, 0).contiguous()
        digest.update(part.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _format_of(path: Path) -> _Format:
    try:
        if path.is_dir():
            return _DICOM
        with open_file(path) as file:
            start = file.read(132)
    except OSError as error:
        raise FileError(unreadable(path, error)) from error
    if not start:
        raise FileError(f"{path}: the file is empty. Expected a scan; copy or download it again.")
    if start.startswith(_LFS):
        raise FileError(
            f"{path}: a git-lfs pointer, not the scan itself. Expected the scan; run 'git lfs pull' where it "
            "came from."
        )
    name = path.name.lower()
    for suffix, form in _FORMATS.items():
        if name.endswith(suffix):
            return form
    if looks_like_dicom(start) or name.endswith((".dcm", ".ima")):
        return _DICOM
    if name.endswith(_PAIRS):
        raise FileError(
            f"{path}: header and voxels in two files are not read, a header could name any file. Expected "
            "one file; save the scan as .nii.gz, .mha or .nrrd."
        )
    raise FileError(
        f"{path}: unknown kind of file. Expected {', '.join(_FORMATS)}, a folder of DICOM or one DICOM file; "
        "convert the scan to .nii.gz."
    )


def _converted(header: Header, array: Shaped[np.ndarray, "i j k"]) -> Shaped[np.ndarray, "i j k"]:
    """The array in the type and byte order that the header promises, scaled."""
    wanted = np.dtype(str(header.dtype).removeprefix("torch."))
    if header.scale is None and array.dtype == wanted and array.dtype.isnative:
        return array
    if header.scale is None and array.dtype.newbyteorder("=") == wanted:
        return array.byteswap(inplace=True).view(wanted)
    if array.dtype.kind == "u" and array.dtype.itemsize == 8 and int(array.max()) > np.iinfo(np.int64).max:
        raise FileError(
            f"{header.path}: values up to {int(array.max())} do not fit 64-bit signed integers. Expected "
            "labels or intensities below 2^63; convert the scan."
        )
    out = np.empty(array.shape, wanted, order="F")
    slope, inter = header.scale or (1.0, 0.0)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused by name later
        for k in range(0, array.shape[2], _SLAB):
            part = array[:, :, k : k + _SLAB]
            out[:, :, k : k + _SLAB] = part * np.float64(slope) + inter if header.scale else part
    return out


def _check_values(path: Path, array: Shaped[np.ndarray, "i j k"], quiet: bool) -> None:
    """Refuse what is not finite; warn of an image that shows nothing, unless `quiet`."""
    parts = [array[:, :, k : k + _SLAB] for k in range(0, array.shape[2], _SLAB)]
    if array.dtype.kind == "f":
        nan = sum(int(np.isnan(part).sum()) for part in parts)
        infinite = sum(int(np.isinf(part).sum()) for part in parts)
        if nan or infinite:
            all_nan = ", all voxels" if nan == array.size else ""
            raise ValuesError(
                f"{path}: {nan:,} voxels are NaN{all_nan} and {infinite:,} infinite, of {array.size:,}. "
                "Expected finite numbers; replace them, for example by the value of air."
            )
    first = array[0, 0, 0]
    if not quiet and all((part == first).all() for part in parts):
        logger.warning("%s: every voxel is %s; there is nothing to see in this image", path, first)
