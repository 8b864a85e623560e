"""Numbers at places between voxels: which part of a target a source reaches, and what it has there.

What `space.volume` resamples by: separable where the axes of both grids are parallel, voxel by voxel where
they are oblique to each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sam_moe.shapes import Float, Shaped
from sam_moe.space.grid import Grid

# Source coordinates are rounded to this many parts of a voxel (1e-6 voxel): noise of the affine's inverse
# vanishes, the same grid gives back the same numbers, a flipped axis the mirrored weights, and a weight fits
# a float32 exactly.
_PARTS = 2.0**20
# Axes count as parallel when they drift apart by less than this over the whole target.
_PARALLEL_VOXELS = 1e-5
# Elements of one temporary: few enough to stay in a core's cache, which halves the time.
_SEPARABLE_CHUNK = 500_000
_GENERAL_CHUNK = 50_000
# Where a place is this far from the source's border, rounding cannot take it out.
_SURELY = 1e-3


@dataclass(frozen=True)
class IndexBox:
    """Part of a target, half-open in its voxel indices."""

    start: tuple[int, ...]
    stop: tuple[int, ...]

    @property
    def empty(self) -> bool:
        """Whether it holds no voxel."""
        return any(a >= b for a, b in zip(self.start, self.stop, strict=True))

    @property
    def slices(self) -> tuple[slice, ...]:
        """What it is called in indexing the target."""
        return tuple(slice(a, b) for a, b in zip(self.start, self.stop, strict=True))


def reach(source: Grid, onto: Grid, within: Sequence[Grid]) -> IndexBox:
    """The bounding box, in the target's voxels, of all centres that lie in the source and in all `within`."""
    start, stop = np.zeros(3, dtype=np.int64), np.array(onto.shape)
    for grid in (source, *within):
        corners = onto.index_of(grid.corners_mm)
        slack = 1e-3  # what is not inside after all is sorted out voxel by voxel
        start = np.maximum(start, np.ceil(corners.min(axis=0) - slack).astype(np.int64))
        stop = np.minimum(stop, np.floor(corners.max(axis=0) + slack).astype(np.int64) + 1)
    return IndexBox(tuple(start.tolist()), tuple(stop.tolist()))


def sample(
    source: Shaped[Tensor, "x y z"],
    grid: Grid,
    onto: Grid,
    box: IndexBox,
    fill: float,
    interpolated: torch.dtype | None,
) -> Shaped[Tensor, "i j k"]:
    """The values of a source on its grid at the voxels of another, in a box of it; elsewhere `fill`.

    Linear into the dtype `interpolated`, or nearest in the source's dtype where that is None.
    """
    # zeros() costs nothing until touched, which matters on a large target
    make = torch.zeros if fill == 0 else torch.ones
    out = make(onto.shape, dtype=interpolated or source.dtype, device=source.device)
    if fill not in (0, 1):
        out.fill_(fill)
    if not box.empty:
        fill_box(source, grid, onto, box, out[box.slices], nearest=interpolated is None)
    return out


def fill_box(
    source: Shaped[Tensor, "x y z"],
    grid: Grid,
    onto: Grid,
    box: IndexBox,
    part: Shaped[Tensor, "i j k"],
    nearest: bool,
) -> None:
    """Write what a source on its grid has at the target's voxels in a box, which `part` is."""
    matrix = onto.to(grid)
    axes = _parallel_axes(matrix, onto.shape)
    if axes is None:
        _sample_oblique(source, matrix, box, part, nearest)
    else:
        steps = [_Step.along(matrix[a, t], matrix[a, 3], source.shape[a], box, t) for t, a in enumerate(axes)]
        _sample_separable(source.permute(axes), steps, part, nearest)


def _parallel_axes(matrix: Float[np.ndarray, "4 4"], shape: tuple[int, int, int]) -> list[int] | None:
    """For each target axis the source axis it runs along, or None where they are oblique to each other."""
    linear = np.abs(matrix[:3, :3])
    axes = [int(a) for a in linear.argmax(axis=0)]
    if sorted(axes) != [0, 1, 2]:
        return None
    drift = linear * np.array(shape)
    drift[axes, range(3)] = 0
    return axes if drift.max() < _PARALLEL_VOXELS else None


def _whole_parts(coordinate: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    return np.asarray(np.round(coordinate * _PARTS) / _PARTS, dtype=np.float64)


@dataclass(frozen=True)
class _Step:
    """Where to look along one axis: slices [start, stop) of the box, and the two source slices for each."""

    scale: float
    start: int
    stop: int
    near: Shaped[np.ndarray, " n"]
    far: Shaped[np.ndarray, " n"]
    weight: Float[np.ndarray, " n"]

    @staticmethod
    def along(scale: float, offset: float, count: int, box: IndexBox, axis: int) -> "_Step":
        index = np.arange(box.start[axis], box.stop[axis])
        at = _whole_parts(scale * index + offset)
        inside = (at >= -0.5) & (at <= count - 0.5)
        index, at = index[inside] - box.start[axis], at[inside].clip(0, count - 1)
        # From the nearer neighbour towards the other: a mirrored axis then gives the same bits.
        near = np.floor(at + 0.5)
        far = (near + np.sign(at - near)).astype(np.int64)
        start = int(index[0]) if len(index) else 0
        return _Step(abs(scale), start, start + len(index), near.astype(np.int64), far, np.abs(at - near))

    def part(self, start: int, stop: int) -> "_Step":
        """The slices [start, stop), counted from the first one."""
        cut = slice(start, stop)
        first = self.start + start
        near, far, weight = self.near[cut], self.far[cut], self.weight[cut]
        return _Step(self.scale, first, first + len(near), near, far, weight)

    @property
    def reads(self) -> tuple[int, int]:
        """The half-open range of source slices that are looked at."""
        return int(min(self.near.min(), self.far.min())), int(max(self.near.max(), self.far.max())) + 1


def _sample_separable(source: Tensor, steps: list[_Step], out: Tensor, nearest: bool) -> None:
    """Fill `out` where the steps say, axis after axis; the source's axes are in the target's order."""
    if any(step.start == step.stop for step in steps):
        return
    # Axes that lose most slices go first. The order hangs on the two grids alone, so that no bit hangs on
    # the box or the chunk.
    order = sorted(range(3), key=lambda t: (-steps[t].scale, t))
    last = steps[order[2]]
    spans = [max(steps[t].stop - steps[t].start, steps[t].reads[1] - steps[t].reads[0]) for t in order[:2]]
    slab = max(1, int(_SEPARABLE_CHUNK / (spans[0] * spans[1] * max(1.0, last.scale))))
    for start in range(0, last.stop - last.start, slab):
        parts = list(steps)
        parts[order[2]] = last.part(start, start + slab)
        piece = source
        for axis, step in enumerate(parts):
            low, high = step.reads
            piece = piece.narrow(axis, low, high - low)
        for axis in order:
            piece = _along_axis(piece, axis, parts[axis], nearest)
        out[tuple(slice(step.start, step.stop) for step in parts)] = piece


def _along_axis(piece: Tensor, axis: int, step: _Step, nearest: bool) -> Tensor:
    low, _ = step.reads
    near = _gather(piece, axis, step.near - low)
    if nearest:
        return near
    near = near.float()
    if not step.weight.any():
        return near
    far = _gather(piece, axis, step.far - low).float()
    shape = [1, 1, 1]
    shape[axis] = -1
    weight = torch.from_numpy(step.weight.astype(np.float32)).to(piece.device).view(shape)
    # Three plain operations: a fused one may round differently in the vectorised middle and the end of a row.
    return far.sub_(near).mul_(weight).add_(near)


def _gather(piece: Tensor, axis: int, index: Shaped[np.ndarray, " n"]) -> Tensor:
    return piece.index_select(axis, torch.from_numpy(index).to(piece.device))


def _sample_oblique(
    source: Tensor, matrix: Float[np.ndarray, "4 4"], box: IndexBox, out: Tensor, nearest: bool
) -> None:
    """Fill `out`, the box of the target, in slabs; float64 coordinates keep large scans exact."""
    # Any strided array is read where it lies: a voxel's place in memory is a weighted sum of its indices.
    counts, strides = source.shape, source.stride()
    span = sum((n - 1) * s for n, s in zip(counts, strides, strict=True)) + 1
    flat = source.as_strided((span,), (1,))
    ranges = [np.arange(*ends) for ends in zip(box.start, box.stop, strict=True)]
    tables = [
        [torch.from_numpy(matrix[a, t] * ranges[t]).to(source.device) for t in range(3)] for a in range(3)
    ]
    inner = (box.stop[1] - box.start[1]) * (box.stop[2] - box.start[2])
    slab = max(1, _GENERAL_CHUNK // inner)
    for start in range(0, box.stop[0] - box.start[0], slab):
        # The same sum in the same order for every voxel, whatever the box and the slab
        places = [
            (i[start : start + slab, None, None] + j[None, :, None]) + (k + matrix[a, 3])[None, None, :]
            for a, (i, j, k) in enumerate(tables)
        ]
        region = out[start : start + slab]
        inside = None
        for at, n in zip(places, counts, strict=True):
            at.mul_(_PARTS).round_().mul_(1 / _PARTS)
            low, high = torch.aminmax(at)
            if low < _SURELY - 0.5 or high > n - 0.5 - _SURELY:
                within = (at >= -0.5) & (at <= n - 0.5)
                inside = within if inside is None else inside & within
            if low < 0 or high > n - 1:
                at.clamp_(0, n - 1)
        flats = [at.view(-1) for at in places]
        values = _nearest(flat, flats, strides) if nearest else _trilinear(flat, flats, counts, strides)
        values = values.view(region.shape).to(out.dtype)
        region.copy_(values if inside is None else torch.where(inside, values, region))


def _nearest(flat: Tensor, places: list[Tensor], strides: tuple[int, ...]) -> Tensor:
    i, j, k = ((at + 0.5).long() * stride for at, stride in zip(places, strides, strict=True))
    return flat.index_select(0, i + j + k)


def _trilinear(
    flat: Tensor, places: list[Tensor], counts: tuple[int, ...], strides: tuple[int, ...]
) -> Tensor:
    """Trilinear interpolation at points (i, j, k) that all lie between the outermost voxel centres."""
    lows = [at.floor().clamp_(max=max(n - 2, 0)) for at, n in zip(places, counts, strict=True)]
    weights = [(at - low).float() for at, low in zip(places, lows, strict=True)]
    # Whole numbers, and a double holds them exactly as far as any memory reaches
    index = lows[0].mul_(strides[0]).add_(lows[1], alpha=strides[1]).add_(lows[2], alpha=strides[2]).long()
    next_i, next_j, next_k = (stride if n > 1 else 0 for n, stride in zip(counts, strides, strict=True))

    def voxels(offset: int) -> Tensor:
        return flat[offset:].index_select(0, index).float()

    def along_k(offset: int) -> Tensor:
        return _lerp(voxels(offset), voxels(offset + next_k), weights[2])

    def along_jk(offset: int) -> Tensor:
        return _lerp(along_k(offset), along_k(offset + next_j), weights[1])

    return _lerp(along_jk(0), along_jk(next_i), weights[0])


def _lerp(low: Tensor, high: Tensor, weight: Tensor) -> Tensor:
    return high.sub_(low).mul_(weight).add_(low)
