"""A few slices of a scan, enough to see what it shows: the same ones in training and in prediction."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sam_moe.registry import DataSet
from sam_moe.shapes import Float
from sam_moe.slices.stack import axial_grid, comparable, neighbours
from sam_moe.space.extents import part_of
from sam_moe.space.sampling import IndexBox
from sam_moe.space.volume import Volume, resample

_MOST_SLICES = 8
_SIDE_PIXELS = 64


def glance(scan: Volume, data_set: DataSet) -> Float[Tensor, "n 3 x y"]:
    """At most 8 evenly spaced slices of a scan as its data set's, of their middle at most 64 x 64 pixels.

    They are those of `prepare`, with their neighbours as channels, and cost no more than themselves: a whole
    body in the half millimetres of a small structure would have many times the pixels that its own scans
    have (ours).
    """
    values = comparable(scan.array.float(), data_set.intensity)
    grid = axial_grid(scan.grid, data_set.spacing_mm)
    count = grid.shape[2]
    sides, wanted = _sides(grid.shape), _slices(count)
    images = []
    for k in wanted.tolist():
        low, high = max(0, k - 1), min(count, k + 2)
        box = IndexBox((sides[0].start, sides[1].start, low), (sides[0].stop, sides[1].stop, high))
        slab = resample(Volume(values, scan.grid), onto=part_of(grid, box), fill=float(values.min()))
        images.append(neighbours(slab.array, torch.tensor([k - low])))
    return torch.cat(images)


def glance_at(stack: Float[Tensor, "x y z"]) -> Float[Tensor, "n 3 u v"]:
    """What `glance` gives of a scan, of its prepared stack."""
    x, y = _sides(stack.shape)
    return neighbours(stack[x, y], _slices(stack.shape[2]))


def _sides(shape: Sequence[int]) -> tuple[slice, slice]:
    x, y = (slice(max(0, (n - _SIDE_PIXELS) // 2), min(n, (n + _SIDE_PIXELS) // 2)) for n in shape[:2])
    return x, y


def _slices(count: int) -> Tensor:
    wanted = min(count, _MOST_SLICES)
    return ((torch.arange(wanted) + 0.5) * count / wanted).long()
