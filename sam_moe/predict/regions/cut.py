"""Intensities of a region, cut from the scan: interpolated, and averaged over blocks where it is coarser."""

import numpy as np
import torch
from torch import Tensor

from sam_moe.shapes import Float, Int
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume, resample


def cut(scan: Volume, region: Grid, spacing_mm: float, fill: float) -> Float[Tensor, "x y z"]:
    """Take the region's intensities from the scan.

    At the model's own spacing this is plain trilinear interpolation, as in the reference's preprocessing. A
    region that is coarser is cut from the scan averaged over blocks, as long as these stay no coarser than
    the model's own spacing would have seen them: noise that no full-size region ever showed must not alias
    into a zoomed one (ours).
    """
    wanted = region.spacing_mm[0]
    native = np.array(scan.grid.spacing_mm)
    blocks = np.floor(wanted / np.maximum(native, spacing_mm) + 1e-6).clip(1).astype(int)
    if (blocks > 1).any():
        scan = block_mean(scan, region, blocks)
    return resample(scan, onto=region, fill=fill).array


def block_mean(scan: Volume, region: Grid, blocks: Int[np.ndarray, "3"]) -> Volume:
    """Average the scan over blocks of voxels where the region can see them.

    Blocks are counted from the region's centre, not from the first stored voxel: a flipped scan has the same
    ones. A block that reaches out of the scan repeats the scan's border there.
    """
    shape = np.array(scan.grid.shape)
    size = np.minimum(blocks, shape)
    edges = scan.grid.index_of(np.vstack([region.corners_mm, region.corners_mm.mean(axis=0)])) + 0.5
    anchor = _nearest_edge(edges[-1], scan.grid)
    seen = (edges[:-1] - anchor) / size  # in blocks from the anchor
    least, most = np.floor(-anchor / size), np.ceil((shape - anchor) / size)
    first = (np.floor(seen.min(axis=0)) - 1).clip(least, most - 1)
    last = (np.ceil(seen.max(axis=0)) + 1).clip(first + 1, most)
    start, stop = (anchor + first * size).astype(int), (anchor + last * size).astype(int)
    mean = _block_means(scan.array, start, stop, size)
    affine = scan.grid.affine.copy()
    affine[:3, 3] = scan.grid.world_of(start + (size - 1) / 2)
    affine[:3, :3] *= size
    return Volume(mean, Grid(affine, (mean.shape[0], mean.shape[1], mean.shape[2])))


def _block_means(
    array: Tensor, start: Int[np.ndarray, "3"], stop: Int[np.ndarray, "3"], size: Int[np.ndarray, "3"]
) -> Float[Tensor, "x y z"]:
    """The means of the blocks from `start` to `stop`, the array's border repeated; plane after plane.

    Axis by axis in the order in which they lie in memory, so that no more than a few planes are ever copied:
    pooling a padded copy of a large scan took seconds (ours).
    """
    order = sorted(range(3), key=lambda axis: -array.stride()[axis])
    # Of each axis, slowest first: which voxels are the first of their blocks, which the second, and so on
    places = [
        torch.from_numpy(np.arange(start[a], stop[a]).clip(0, array.shape[a] - 1)).view(-1, int(size[a])).T
        for a in order
    ]
    source = array.detach().permute(order)
    means = torch.empty([p.shape[1] for p in places], device=array.device)
    for plane, slices in zip(means, places[0].T.tolist(), strict=True):
        total = source[slices[0]].to(torch.float32, copy=True)
        for number in slices[1:]:
            total += source[number]
        for axis, voxels in enumerate(places[1:]):
            first, *others = (total.index_select(axis, index.to(total.device)) for index in voxels)
            total = sum(others, first)
        torch.div(total, float(size.prod()), out=plane)
    return means.permute([order.index(a) for a in range(3)])


def _nearest_edge(at: Float[np.ndarray, "3"], grid: Grid) -> Float[np.ndarray, "3"]:
    """The voxel edge nearest to a place; of two equally near ones that to the right, front or top."""
    columns = grid.affine[:3, :3]
    sign = np.sign(columns[np.abs(columns).argmax(axis=0), range(3)])
    return np.asarray(sign * np.floor((sign * at + 0.5).round(6)), dtype=np.float64)
