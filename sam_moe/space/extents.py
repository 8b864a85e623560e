"""Bounding boxes and counts of what is seen on a grid, and the part of a grid that a box covers."""

import numpy as np
import torch
from torch import Tensor

from sam_moe.shapes import Bool, Int, UInt8
from sam_moe.space.grid import Grid
from sam_moe.space.sampling import IndexBox


def extent(seen: Bool[Tensor, "i j k"]) -> IndexBox | None:
    """The smallest box of voxels around all that are true; None where none is (ours)."""
    plane = seen.any(dim=2)
    lines = plane.any(dim=1), plane.any(dim=0), seen.any(dim=0).any(dim=0)
    held = [line.nonzero().flatten().tolist() for line in lines]
    if not held[0]:
        return None
    return IndexBox(tuple(line[0] for line in held), tuple(line[-1] + 1 for line in held))


def extents(labels: UInt8[Tensor, "i j k"]) -> dict[int, IndexBox]:
    """The smallest box around the voxels of each value of a label map, of those from 1 on that have any."""
    from scipy import ndimage

    found = {}
    for value, where in enumerate(ndimage.find_objects(labels.numpy()), start=1):
        if where is not None:
            found[value] = IndexBox(tuple(w.start for w in where), tuple(w.stop for w in where))
    return found


def value_counts(labels: UInt8[Tensor, "i j k"]) -> Int[Tensor, " values"]:
    """How many voxels of a label map each value from 0 to 255 has."""
    memory = labels.permute(sorted(range(3), key=lambda axis: -labels.stride()[axis]))
    counts = torch.zeros(256, dtype=torch.int64)
    for plane in memory:  # plane by plane: counting takes 8 bytes a voxel
        counts += plane.flatten().bincount(minlength=256)
    return counts


def union(boxes: list[IndexBox]) -> IndexBox:
    """The smallest box around one or more boxes."""
    starts, stops = np.array([box.start for box in boxes]), np.array([box.stop for box in boxes])
    return IndexBox(tuple(starts.min(axis=0).tolist()), tuple(stops.max(axis=0).tolist()))


def part_of(grid: Grid, box: IndexBox, margin: int = 0) -> Grid:
    """The grid of the voxels in a box and of `margin` more to each side, which may lie outside `grid`.

    >>> grid = Grid.around((0, 0, 0), (8, 8, 8), (2, 2, 2))
    >>> part_of(grid, IndexBox((2, 4, 4), (5, 6, 7)), margin=1).shape
    (5, 4, 5)
    """
    affine = grid.affine.copy()
    affine[:3, 3] = grid.world_of([start - margin for start in box.start])
    i, j, k = (b - a + 2 * margin for a, b in zip(box.start, box.stop, strict=True))
    return Grid(affine, (i, j, k))
