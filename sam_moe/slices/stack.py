"""A scan as axial slices, prepared as a data set of a card says."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sam_moe.registry import DataSet, Intensity
from sam_moe.shapes import Float
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume, resample

_ROUNDING = 1e-5  # of a mean in single precision, as a share of the numbers' span


@dataclass(frozen=True, eq=False)
class Stack:
    """Axial slices, prepared.

    Args:
        array: float32, along x (right), y (front) and z (up) of the world.
        grid: where its voxels are.
    """

    array: Float[Tensor, "x y z"]
    grid: Grid


def axial_grid(scan: Grid, spacing_mm: tuple[float, float, float]) -> Grid:
    """The grid along the world's axes that covers a scan with voxels of these sizes (ours).

    It lies around the scan's middle, with as many voxels as the scan's outer corners reach, rounded up.
    """
    corners = scan.corners_mm
    low, high = corners.min(axis=0), corners.max(axis=0)
    counts = np.maximum(1, np.ceil((high - low) / spacing_mm - 1e-3)).astype(int)
    first = (low + high) / 2 - (counts - 1) / 2 * np.array(spacing_mm)
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = first
    x, y, z = counts.tolist()
    return Grid(affine, (x, y, z))


def prepare(scan: Volume, data_set: DataSet) -> Stack:
    """A scan as its data set's slices: the one way that training and prediction share.

    Numbers are made comparable on the scan's own voxels, then interpolated; outside the scan stands the
    least.
    """
    values = comparable(scan.array.float(), data_set.intensity)
    grid = axial_grid(scan.grid, data_set.spacing_mm)
    return Stack(resample(Volume(values, scan.grid), onto=grid, fill=float(values.min())).array, grid)


def comparable(values: Float[Tensor, "i j k"], how: Intensity) -> Float[Tensor, "i j k"]:
    """Numbers as a data set's `intensity` makes them; those without contrast become 0.

    Where all voxels above the mean are alike, the scan's span stands for their deviation.
    """
    if how.kind == "window":
        return ((values - how.low) / (how.high - how.low)).clamp(0, 1)
    low, high = torch.aminmax(values)
    above = values[values > values.mean()]
    if low == high or not len(above):
        return torch.zeros_like(values)
    deviation, span = above.std(correction=0), high - low
    # Equal numbers have the deviation of their mean's rounding, which is no measure of anything
    return (values - above.mean()) / (deviation if deviation > _ROUNDING * span else span)


def neighbours(stack: Float[Tensor, "x y z"], slices: Tensor | None = None) -> Float[Tensor, "n 3 x y"]:
    """Each slice with the one below and the one above as channels; at the ends the slice itself repeats.

    `slices` are the wanted ones, by default all in order.
    """
    count = stack.shape[2]
    wanted = torch.arange(count) if slices is None else slices
    index = torch.stack([(wanted + step).clamp(0, count - 1) for step in (-1, 0, 1)], dim=1)
    return stack.permute(2, 0, 1)[index]
