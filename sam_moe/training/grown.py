"""Targets where nothing is labelled: tissue grown from a random voxel, promptable though it has no name."""

import torch
from torch import Tensor
from torch.nn import functional as F

from sam_moe.shapes import Bool, Float

# In pairs of voxels; the most is a share of the region.
_LEAST, _MOST = 30, 0.15
_STEPS = 32


def grow(
    image: Float[Tensor, "s s s"], labelled: Bool[Tensor, "s s s"], rng: torch.Generator
) -> Bool[Tensor, "s s s"] | None:
    """Connected tissue of like intensity around a random voxel outside the labels, or None for a bad draw.

    Region growing at half the resolution in an image that is smoothed first, by a tolerance that is drawn:
    what supervoxels give, for the price of a few pooling operations (ours).
    """
    smooth = F.avg_pool3d(F.avg_pool3d(image[None, None], 2), 3, 1, 1, count_include_pad=False)
    free = F.max_pool3d(labelled[None, None].float(), 2) == 0
    inside = free & (smooth > smooth.mean())
    places = inside.flatten().nonzero()[:, 0]
    if not len(places):
        return None
    seed = places[torch.randint(len(places), (), generator=rng)]
    tolerance = (0.15 + 0.45 * torch.rand((), generator=rng)) * smooth[inside].std()
    like = free & ((smooth - smooth.flatten()[seed]).abs() < tolerance)
    body = torch.zeros_like(smooth)
    body.flatten()[seed] = 1
    size = 1.0
    for _ in range(_STEPS):
        body = F.max_pool3d(body, 3, 1, 1) * like
        if (grown := float(body.sum())) == size:
            break
        size = grown
    if not _LEAST <= size <= _MOST * body.numel():
        return None
    return F.interpolate(body, scale_factor=2, mode="trilinear")[0, 0] >= 0.5
