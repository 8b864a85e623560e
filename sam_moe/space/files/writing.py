"""Writing masks and volumes: the grid they were given, whole or not at all."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK
import torch
from torch import Tensor

from sam_moe.errors import FileError, GeometryError
from sam_moe.files import replace_text, replacing, withdraw
from sam_moe.shapes import Float, Shaped
from sam_moe.space.files.beside import check_table, labels_beside, labels_text, suffix_of, withdraw_record
from sam_moe.space.files.text import lps_to_ras
from sam_moe.space.grid import Grid, same_grid
from sam_moe.space.volume import Volume

# Their signatures have no types.
nib: Any = nibabel
sitk: Any = SimpleITK

# NIfTI's "aligned": the millimetres agree with those of the scan. We cannot know that they are a scanner's.
_ALIGNED = 2
_LONGEST_NIFTI1 = 32767  # voxels along an axis; a longer one needs NIfTI-2
_STORED = {
    torch.bool: np.uint8,
    torch.uint8: np.uint8,
    torch.int8: np.int8,
    torch.int16: np.int16,
    torch.int32: np.int32,
    torch.int64: np.int64,
    torch.float32: np.float32,
    torch.float64: np.float64,
    torch.float16: np.float32,
    torch.bfloat16: np.float32,
}


def write_mask(
    path: str | Path,
    mask: Shaped[Tensor, "i j k"] | Shaped[np.ndarray, "i j k"] | Volume,
    grid: Grid | None = None,
    labels: dict[int, str] | None = None,
    ready: Callable[[Path], object] | None = None,
) -> None:
    """Write a mask or label map on its grid, as uint8, or uint16 where a label exceeds 255.

    The file appears under its name only when it is complete, and replaces an older one; whatever fails or is
    killed, no file of names and no run record lies beside another mask than its own.

    Args:
        path: the suffix names the format: .nii, .nii.gz, .nrrd or .mha.
        mask: whole numbers from 0 to 65535, 0 for background: a volume, or a tensor or NumPy array indexed
            (i, j, k) along the axes of `grid`. Empty ones, all 0, are written like any other.
        grid: where the voxels are; left out for a volume, which has its own.
        labels: names of the values, written to `<name>.labels.json` beside; without them that of an older
            mask is removed. So is `<name>.run.json`, where `sam-moe predict` recorded how that was made.
        ready: called with the complete new file before an older one is touched; a caller that gives one
            takes care itself of the run record, and of a file of the names' name that is something else.

    Raises:
        FileError: for an unknown suffix, a missing folder, values that are no labels, a full disk, or a
            `<name>.labels.json` that is something else.
        GeometryError: where the mask's shape is not the grid's.
    """
    path = Path(path)
    suffix = suffix_of(path)
    volume = _on_grid(path, mask, grid)
    values = volume.array.detach().cpu()
    if values.is_floating_point() or values.is_complex():
        raise FileError(
            f"{path}: a mask of type {values.dtype}. Expected whole numbers, 0 for background; threshold "
            "probabilities first, or use write_volume."
        )
    # In the order in which they lie in memory: across it torch is 80 times slower.
    ends = torch.aminmax(values.permute(sorted(range(3), key=lambda axis: -values.stride()[axis])))
    low, high = int(ends.min), int(ends.max)
    if low < 0 or high > 65535:
        raise FileError(f"{path}: labels from {low} to {high}. Expected 0 to 65535; renumber them.")
    kind = np.uint8 if high <= 255 else np.uint16
    text = None if labels is None else labels_text(labels, path)
    beside = labels_beside(path)
    if ready is None:
        check_table(beside)

    def take_over(new: Path) -> None:
        if ready is None:
            withdraw_record(path)
        else:
            ready(new)
        withdraw(beside)

    _write(path, values.numpy().astype(kind, copy=False), volume.grid, suffix, take_over)
    if text is not None:
        replace_text(beside, text)


def _on_grid(path: Path, mask: object, grid: Grid | None) -> Volume:
    if isinstance(mask, Volume):
        if grid is not None:
            same_grid(grid, mask.grid)
        return mask
    if grid is None:
        raise GeometryError(
            f"{path}: a mask without a grid. Expected write_mask(path, mask, grid) or write_mask(path, "
            "Volume); a prediction has its scan's, prediction.grid."
        )
    return Volume(mask, grid)


def write_volume(path: str | Path, volume: Volume) -> None:
    """Write a volume on its grid in its own type; half precision is widened to float32, bool to uint8.

    The file appears under its name only when it is complete, and replaces an older one.

    Args:
        path: the suffix names the format: .nii, .nii.gz, .nrrd or .mha.
        volume: numbers of a type that the formats hold.

    Raises:
        FileError: for an unknown suffix, a missing folder, a type that no format holds, or a full disk.
    """
    path = Path(path)
    suffix = suffix_of(path)
    values = volume.array.detach().cpu()
    if values.dtype not in _STORED:
        raise FileError(
            f"{path}: no format for {values.dtype}. Expected one of {', '.join(map(str, _STORED))}."
        )
    if values.dtype in (torch.float16, torch.bfloat16):
        values = values.float()
    _write(path, values.numpy().astype(_STORED[volume.array.dtype], copy=False), volume.grid, suffix)


def _write(
    path: Path,
    array: Shaped[np.ndarray, "i j k"],
    grid: Grid,
    suffix: str,
    ready: Callable[[Path], object] = lambda new: None,
) -> None:
    """Write a new file and call `ready` with it before it takes the old one's place."""
    write = _write_nifti if suffix.startswith(".nii") else _write_itk
    with replacing(path, (RuntimeError,)) as new:  # SimpleITK's only kind
        write(new, array, grid)
        ready(new)


def _write_nifti(path: Path, array: Shaped[np.ndarray, "i j k"], grid: Grid) -> None:
    kind = nib.Nifti1Image if max(array.shape) <= _LONGEST_NIFTI1 else nib.Nifti2Image
    image = kind(array, grid.affine, dtype=array.dtype)
    image.set_sform(grid.affine, _ALIGNED)
    image.set_qform(grid.affine, _ALIGNED)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)


def _write_itk(path: Path, array: Shaped[np.ndarray, "i j k"], grid: Grid) -> None:
    image = sitk.GetImageFromArray(array.transpose(2, 1, 0))
    affine: Float[np.ndarray, "4 4"] = lps_to_ras(grid.affine)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    axes = affine[:3, :3] / spacing
    if np.abs(axes.T @ axes - np.eye(3)).max() > 1e-4:
        raise GeometryError(
            f"{path.suffix} cannot hold sheared axes: {grid}. Expected right angles; write .nii.gz."
        )
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection(axes.ravel().tolist())
    sitk.WriteImage(image, str(path), useCompression=True)
