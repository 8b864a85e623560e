"""A target larger than a region, at full resolution: overlapping regions laid over a coarse answer (ours)."""

from collections.abc import Callable
from itertools import product

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sam_moe.predict.answering import Answer
from sam_moe.prompts.prompt import Box, Point, Prompt
from sam_moe.shapes import Float, Int
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume, resample

# Neighbouring regions share this part of their edge.
_OVERLAP = 0.375


def tiles(
    inside_mm: Float[np.ndarray, "2 3"],
    anchor_mm: Float[np.ndarray, "3"],
    shape: tuple[int, int, int],
    spacing_mm: float,
) -> list[Grid]:
    """Overlapping regions of `shape` voxels at `spacing_mm` that cover a box in millimetres.

    They lie on a lattice through `anchor_mm`, so that a mask that grew a little finds its neighbours
    encoded already.
    """
    axes = []
    for (low, high), anchor, voxels in zip(inside_mm.T, anchor_mm, shape, strict=True):
        stride = round(voxels * (1 - _OVERLAP)) * spacing_mm  # whole voxels, so that tiles share theirs
        # The tile at anchor + n * stride is responsible for half a stride to both sides.
        first, last = np.round((low - anchor) / stride), np.round((high - anchor) / stride)
        axes.append(anchor + stride * np.arange(first, last + 1))
    return [Grid.around(at, shape, (spacing_mm,) * 3) for at in product(*axes)]


def plan(coarse: Volume, shape: tuple[int, int, int], spacing_mm: float, most: int) -> list[Grid]:
    """Tiles over a coarse mask, as fine as at most `most` of them allow, `spacing_mm` at the finest."""
    index = (coarse.array > 0.5).nonzero()
    if not len(index):
        return []
    corners = coarse.grid.world_of(torch.stack([index.amin(0), index.amax(0)]).numpy())
    inside = np.stack([corners.min(axis=0), corners.max(axis=0)])
    anchor = coarse.grid.world_of([n // 2 for n in coarse.grid.shape])
    while len(found := tiles(inside, anchor, shape, spacing_mm)) > most:
        spacing_mm *= 1.15
    return found if spacing_mm < coarse.grid.spacing_mm[0] else []


def refine(
    rough: Answer,
    prompt: Prompt,
    regions: list[Grid],
    answer: Callable[[Grid, Prompt, Tensor], Answer],
    progress: Callable[[float], None],
) -> Volume:
    """Answer each region of a plan, prompted by the coarse answer there; return the joined probability.

    Each region gets the coarse logits as its mask prompt, the coarse mask's box in it, the clicks that fall
    into it and, where none of them is positive, a click deep inside the coarse mask; regions without any of
    the mask keep the coarse answer. Answers are joined with weights that fall off towards the region's
    border. `progress` is given the share done.
    """
    seen = rough.probability()
    spacing = regions[0].spacing_mm[0]
    corners = np.concatenate([r.corners_mm for r in regions])
    low, high = corners.min(axis=0), corners.max(axis=0)
    shape = tuple(round(float(n)) for n in (high - low) / spacing)
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = low + spacing / 2
    canvas = Grid(affine, (shape[0], shape[1], shape[2]))
    total, weight = torch.zeros(canvas.shape), torch.zeros(canvas.shape)
    hat = _hat(regions[0].shape)
    for number, region in enumerate(regions, start=1):
        local = _prompt_in(region, seen, prompt)
        if local is not None:
            first = np.rint(canvas.index_of(region.world_of((0, 0, 0)))).astype(int)
            i, j, k = (slice(a, a + n) for a, n in zip(first, region.shape, strict=True))
            result = answer(region, local, rough.fed_to(region)).probability()
            total[i, j, k] += result.array * hat
            weight[i, j, k] += hat
        progress(number / len(regions))
    background = resample(seen, onto=canvas).array
    return Volume(torch.where(weight > 0, total / weight.clamp(min=1e-9), background), canvas)


def _prompt_in(region: Grid, seen: Volume, prompt: Prompt) -> Prompt | None:
    """The coarse mask's box in a region and the clicks inside, one of them positive; None without a mask.

    On validation cases this beat the clicks alone and the box alone (benchmarks/LOG.md).
    """
    inside = resample(seen, onto=region).array > 0.5
    target = deepest(inside)
    if target is None:
        return None
    index = inside.nonzero()
    low, high = index.amin(0), index.amax(0) + 1
    clicks = [p for p in prompt.points if region.inside(region.index_of(p.at))]
    found: list[Box | Point] = [Box(_triple(low), _triple(high))]
    if not any(p.positive for p in clicks):
        found.append(Point(_triple(target)))
    return Prompt((*Prompt(tuple(found)).in_mm(region.affine), *clicks))


def _triple(index: Int[Tensor, "3"]) -> tuple[float, float, float]:
    i, j, k = index.tolist()
    return float(i), float(j), float(k)


def _hat(shape: tuple[int, int, int]) -> Float[Tensor, "x y z"]:
    """1 in the middle, falling linearly to almost nothing at the border."""
    falling = (1 - (2 * (torch.arange(n) + 0.5) / n - 1).abs() for n in shape)
    x, y, z = ((2 * line).clamp(0.02, 1) for line in falling)
    return x[:, None, None] * y[None, :, None] * z[None, None, :]


def deepest(inside: Tensor) -> Tensor | None:
    """A voxel deep inside a mask, where most of its neighbours belong to it; None for an empty mask."""
    if not bool(inside.any()):
        return None
    x = inside.float()[None, None]
    score = x + _neighbours(x, 3) / 3**3 + _neighbours(x, 9) / 9**3
    index = torch.argmax((score[0, 0] * inside).flatten())
    return torch.stack(torch.unravel_index(index, inside.shape))


def _neighbours(x: Tensor, width: int) -> Tensor:
    """How many voxels of a mask lie in the cube around each voxel: whole numbers, one axis after another."""
    for axis in (axis for axis in range(3) if x.shape[2 + axis] > 1):
        kernel, margin = [1, 1, 1], [0, 0, 0]
        kernel[axis], margin[axis] = width, width // 2
        x = F.avg_pool3d(x, kernel, 1, margin, divisor_override=1)
    return x
