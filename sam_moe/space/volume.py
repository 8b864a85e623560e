"""A Volume is numbers on a Grid; `resample` is the one way to take it onto another grid, there and back."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sam_moe.shapes import Float, Shaped
from sam_moe.space.arrays import on_grid
from sam_moe.space.grid import Grid
from sam_moe.space.sampling import IndexBox, fill_box, reach, sample


@dataclass(frozen=True, eq=False, repr=False, init=False)
class Volume:
    """Numbers on a grid: a scan, a mask, a probability. Equal to itself alone.

    Args:
        array: one real number a voxel, indexed (i, j, k) along the stored axes; a tensor of any dtype on any
            device, or a NumPy array, which becomes one and shares its memory where torch can.
        grid: where the voxels are; or a 4x4 affine from indices to RAS+ millimetres, which becomes a grid of
            the array's shape.

    Raises:
        GeometryError: when the array's shape is not the grid's, or it holds no numbers.

    >>> import numpy as np
    >>> volume = Volume(np.zeros((4, 5, 6), dtype=np.uint8), np.diag([0.5, 0.5, 2.0, 1.0]))
    >>> volume.array.dtype, volume.grid.extent_mm
    (torch.uint8, (2.0, 2.5, 12.0))
    """

    array: Shaped[Tensor, "i j k"]
    grid: Grid

    def __init__(self, array: object, grid: object) -> None:
        found, place = on_grid(array, grid)
        object.__setattr__(self, "array", found)
        object.__setattr__(self, "grid", place)

    def __repr__(self) -> str:
        return f"Volume({self.array.dtype} on {self.grid})"


def resample(volume: Volume, onto: Grid, fill: float = 0.0, within: Sequence[Grid] = ()) -> Volume:
    """Interpolate a volume at the voxel centres of another grid, trilinearly, as float32.

    Both grids may have any spacing and orientation: places are compared in RAS+ millimetres. Nothing is
    smoothed where the target is coarser. Centres outside the source by up to half a voxel take the edge's
    value, farther ones get `fill`. An empty mask stays empty. Not differentiable; on the volume's device.

    Ours; agrees with torchio's Resample, ToCanonical, CropOrPad chain and with SimpleITK's linear resampling
    on the same grid.

    Args:
        volume: what to interpolate, of any real dtype; of a label map use `resample_labels`.
        onto: the grid of the result.
        fill: the value where the source does not reach, in the volume's own unit.
        within: only what the bounding boxes of all these cover is computed, the rest gets `fill`; the numbers
            inside do not depend on that, to the bit.

    >>> ramp = Volume(torch.arange(4.0).reshape(4, 1, 1), Grid.around((0, 0, 0), (4, 1, 1), (2, 2, 2)))
    >>> finer = resample(ramp, onto=Grid.around((0, 0, 0), (8, 1, 1), (1, 1, 1)), fill=-1)
    >>> finer.array.flatten().tolist()
    [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.0]
    """
    return Volume(
        sample(
            volume.array.detach(), volume.grid, onto, reach(volume.grid, onto, within), fill, torch.float32
        ),
        onto,
    )


def resample_seen(
    volume: Volume, onto: Grid, within: Sequence[Grid] = ()
) -> tuple[Float[Tensor, "x y z"], tuple[slice, ...]]:
    """The part of `resample` that the source reaches, and its slices in the target; equal to the bit.

    For a small region on a large scan it takes the memory and the time of the region alone, or of that part
    of it that the bounding boxes of all `within` cover (ours). Of grids that do not meet, no voxels.
    """
    box = reach(volume.grid, onto, within)
    if box.empty:
        box = IndexBox((0, 0, 0), (0, 0, 0))
    shape = [b - a for a, b in zip(box.start, box.stop, strict=True)]
    part = torch.zeros(shape, dtype=torch.float32, device=volume.array.device)
    if not box.empty:
        fill_box(volume.array.detach(), volume.grid, onto, box, part, nearest=False)
    return part, box.slices


def resample_labels(volume: Volume, onto: Grid) -> Volume:
    """The nearest voxel's label at the voxel centres of another grid, same dtype; 0 outside the source.

    Ours. Half-way between two voxels the source's one of the higher index counts.
    """
    return Volume(
        sample(volume.array.detach(), volume.grid, onto, reach(volume.grid, onto, ()), 0, None), onto
    )
