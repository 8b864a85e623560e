"""A few slices of a scan, enough to see what it shows: the same ones in training and in prediction."""

import torch
from torch import Tensor

from sam_moe.registry import DataSet
from sam_moe.shapes import Float
from sam_moe.slices.stack import axial_grid, comparable, neighbours
from sam_moe.space.extents import part_of
from sam_moe.space.sampling import IndexBox
from sam_moe.space.volume import Volume, resample

_MOST_SLICES = 16
_SIDE_PIXELS = 128


def glance(scan: Volume, data_set: DataSet) -> Float[Tensor, "n 3 x y"]:
    """At most 16 evenly spaced slices of a scan as its data set's, of their middle at most 128 x 128 pixels.

    They are those of `prepare`, with their neighbours as channels, and cost no more than themselves: a whole
    body in the half millimetres of a small structure would have many times the pixels that its own scans
    have (ours).
    """
    values = comparable(scan.array.float(), data_set.intensity)
    grid = axial_grid(scan.grid, data_set.spacing_mm)
    x, y, count = grid.shape
    sides = [(max(0, (n - _SIDE_PIXELS) // 2), min(n, (n + _SIDE_PIXELS) // 2)) for n in (x, y)]
    wanted = min(count, _MOST_SLICES)
    images = []
    for k in ((torch.arange(wanted) + 0.5) * count / wanted).long().tolist():
        low, high = max(0, k - 1), min(count, k + 2)
        box = IndexBox((sides[0][0], sides[1][0], low), (sides[0][1], sides[1][1], high))
        slab = resample(Volume(values, scan.grid), onto=part_of(grid, box), fill=float(values.min()))
        images.append(neighbours(slab.array, torch.tensor([k - low])))
    return torch.cat(images)
