"""The simulated user in tensors: boxes, first clicks and corrections for a whole batch at once."""

import torch
from torch import Tensor
from torch.nn import functional as F

from sam_moe.shapes import Bool, Float, Int


def boxes_around(
    target: Bool[Tensor, "b s s s"], jitter: float, rng: torch.Generator
) -> Float[Tensor, "b 2 3"]:
    """Half-open boxes around targets, each face moved by up to `jitter` of the edge length."""
    size = target.shape[-1]
    low, high = [], []
    for axis in (1, 2, 3):
        seen = target.any(dim=[a for a in (1, 2, 3) if a != axis]).int()
        low.append(seen.argmax(dim=1))
        high.append(size - seen.flip(1).argmax(dim=1))
    start, stop = torch.stack(low, dim=1).float(), torch.stack(high, dim=1).float()
    moved = (torch.rand(2, *start.shape, generator=rng).to(start) * 2 - 1) * jitter * (stop - start)
    start, stop = (start + moved[0]).clamp(0, size - 1), (stop + moved[1]).clamp(1, size)
    return torch.stack([start, stop.maximum(start + 1)], dim=1)


def click_inside(
    wanted: Bool[Tensor, "b s s s"], depth: int, rng: torch.Generator, randomness: float
) -> Float[Tensor, "b 3"]:
    """One voxel of each mask: where most neighbours belong to it, blurred by `randomness` in [0, 1].

    `depth` is the half width of the neighbourhood in pairs of voxels, less where the region is too small for
    it. An empty mask gives voxel (0, 0, 0); the caller knows.
    """
    size = wanted.shape[-1]
    depth = min(depth, (size // 2 - 1) // 2)
    x = F.avg_pool3d(wanted[:, None].float(), 2)
    for axis in range(3):
        kernel, pad = [1, 1, 1], [0, 0, 0]
        kernel[axis], pad[axis] = 2 * depth + 1, depth
        x = F.avg_pool3d(x, kernel, 1, pad)
    weight = torch.rand(len(x), 1, 1, 1, 1, generator=rng).to(x) * randomness
    x = (1 - weight) * x + weight * torch.rand(x.shape, generator=rng).to(x)
    score = F.interpolate(x, scale_factor=2)[:, 0] * wanted
    best = score.flatten(1).argmax(dim=1)
    return torch.stack([best // (size * size), best // size % size, best % size], dim=1).float()


def correcting_clicks(
    logits: Float[Tensor, "b s s s"], target: Bool[Tensor, "b s s s"], rng: torch.Generator
) -> tuple[Float[Tensor, "b 1 3"], Int[Tensor, "b 1"]]:
    """A click into the largest error: positive where tissue is missing, negative where there is too much.

    A perfect prediction gets an ignored point (label -1).
    """
    predicted = logits > 0
    missed, false = target & ~predicted, predicted & ~target
    # Deep errors weigh more; the larger kind of error is corrected.
    positive = missed.flatten(1).sum(1) >= false.flatten(1).sum(1)
    wrong = torch.where(positive[:, None, None, None], missed, false)
    at = click_inside(wrong, 1, rng, 0.3)
    label = torch.where(wrong.flatten(1).any(1), positive.long(), -1)
    return at[:, None], label[:, None]
