"""Scans and label maps from what a layout names: volumes, channels `x.nii.gz#1`, archives `x.npz`."""

import math
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch

from sam_moe.cases.archives import MOST_INFLATED, read_array
from sam_moe.errors import FileError, ValuesError
from sam_moe.files import open_file
from sam_moe.shapes import Shaped
from sam_moe.space.files import read, read_label_map, whole_numbers
from sam_moe.space.files.header import available_memory_bytes, check_affine
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume

nib: Any = nibabel  # its signatures have no types

LABELS = "gts"  # what an archive calls its label map


def read_image(path: Path) -> Volume:
    """A scan on its own grid.

    Raises:
        FileError, GeometryError: for a file that cannot be read.
    """
    if path.suffix == ".npz":
        return _from_archive(path, "imgs")
    if "#" in path.name and not path.exists():  # else the file is called so
        return _channel(path)
    return read(path)


def read_labels(path: Path, like: Grid | None = None, key: str = LABELS) -> Volume:
    """A label map: whole numbers, whatever type they are stored in.

    An archive without a spacing of its own lies on the grid `like`; `key` is its array.

    Raises:
        FileError, GeometryError: for a file that cannot be read, or numbers that are no labels.
    """
    if path.suffix == ".npz":
        return whole_numbers(_from_archive(path, key, like), str(path))
    return read_label_map(path)


def _channel(path: Path) -> Volume:
    """One of the volumes along the fourth axis of a NIfTI file, its index after the #."""
    name, _, number = path.name.rpartition("#")
    file = path.with_name(name)
    with open_file(file):  # nibabel would wait at a pipe
        pass
    try:
        image = nib.load(file)
        shape, kind = image.shape, np.dtype(image.get_data_dtype())
        if len(shape) != 4 or not 0 <= int(number) < shape[3]:
            raise FileError(
                f"{file}: shape {shape} has no channel {number}. Expected a fourth axis of channels."
            )
        if kind.kind not in "iuf":
            raise ValuesError(
                f"{file}: voxels of type {kind}. Expected one number for each voxel and channel."
            )
        _check_claim(file, math.prod(shape) * kind.itemsize, 4 * math.prod(shape[:3]))
        array = np.asarray(image.dataobj[..., int(number)], dtype=np.float32)
    except FileError:
        raise
    except Exception as error:  # damaged headers and streams raise whatever they spell
        raise FileError(f"{file}: cannot be read as NIfTI ({error}). Expected a whole file.") from error
    affine = check_affine(file, np.asarray(image.affine, dtype=np.float64))
    return Volume(torch.from_numpy(_finite(file, array)), Grid(affine, shape[:3]))


def _check_claim(file: Path, size: int, memory: int) -> None:
    """Refuse a header that claims more bytes than its file can hold, or a channel than the memory."""
    length = file.stat().st_size
    most = length * MOST_INFLATED if file.name.lower().endswith(".gz") else length
    free = available_memory_bytes()
    if size > most or (free is not None and memory > free):
        raise FileError(
            f"{file}: its header claims {size:,} bytes of voxels, and the file has {length:,}. Expected a "
            "file that holds them all, and a channel that fits in memory; export it again."
        )


def _from_archive(path: Path, key: str, like: Grid | None = None) -> Volume:
    """An array (D, H, W) of an archive, turned to (i, j, k) along x, y, z.

    Its spacing is SimpleITK's, (x, y, z), as the challenge's makers write and show it (their NSD applies it
    to the axes D, H, W as it stands). Directions and origin are not in the archive: LPS from 0 is assumed,
    SimpleITK's own.
    """
    array, spacing = read_array(path, key)
    volume = _on_its_grid(path, array, spacing)
    if spacing is None and like is not None and volume.grid.shape == like.shape:
        return Volume(volume.array, like)
    return volume


def _on_its_grid(path: Path, array: Shaped[np.ndarray, "d h w"], spacing: Any) -> Volume:
    steps = np.ones(3) if spacing is None else np.asarray(spacing, dtype=np.float64).ravel()
    if steps.shape != (3,) or not (np.isfinite(steps) & (steps > 0)).all():
        raise FileError(
            f"{path}: spacing {spacing}. Expected three positive numbers of millimetres (x, y, z)."
        )
    turned = np.ascontiguousarray(_finite(path, array).transpose(2, 1, 0))
    if turned.dtype.kind == "u" and turned.dtype.itemsize > 1:
        turned = turned.astype(np.int64 if turned.dtype.itemsize > 2 else np.int32)
    affine = np.diag([-steps[0], -steps[1], steps[2], 1.0])
    i, j, k = turned.shape
    return Volume(torch.from_numpy(turned), Grid(affine, (i, j, k)))


def _finite(path: Path, array: Shaped[np.ndarray, "i j k"]) -> Shaped[np.ndarray, "i j k"]:
    if array.dtype.kind not in "iuf" and array.dtype != bool:
        raise ValuesError(f"{path}: values of type {array.dtype}. Expected numbers.")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValuesError(f"{path}: some voxels are NaN or infinite. Expected finite numbers; replace them.")
    return array
