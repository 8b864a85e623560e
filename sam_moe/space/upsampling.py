"""Low-resolution logits brought up to a region's voxels."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from sam_moe.shapes import Float


def upsample(logits: Float[Tensor, "*b l m n"], size: int | Sequence[int]) -> Float[Tensor, "*b s t u"]:
    """Bring logits to a region of `size` voxels: trilinear, `align_corners=False`, as three matrix products.

    Equal to `torch.nn.functional.interpolate(..., mode="trilinear")` to rounding, and several times quicker
    (ours).

    Args:
        logits: any batch of them; the last three axes are those of the region.
        size: voxels along each of these axes; one number for a cube.

    >>> upsample(torch.tensor([[[0.0, 4.0]]]), (1, 1, 4)).flatten().tolist()
    [0.0, 1.0, 3.0, 4.0]
    """
    x, y, z = (size,) * 3 if isinstance(size, int) else size
    low = logits.shape[-3:]
    along = logits @ _linear_matrix(low[2], z).to(logits).T
    along = _linear_matrix(low[1], y).to(logits) @ along
    up: Tensor = (_linear_matrix(low[0], x).to(logits) @ along.flatten(-2)).unflatten(-1, (y, z))
    return up


@lru_cache(maxsize=16)
def _linear_matrix(length: int, size: int) -> Float[Tensor, "s l"]:
    """Row s holds the weights of linear interpolation at output voxel s, border clamped."""
    at = ((torch.arange(size, dtype=torch.float64) + 0.5) * length / size - 0.5).clamp(0, length - 1)
    low = at.floor().long().clamp(max=length - 2) if length > 1 else torch.zeros(size, dtype=torch.long)
    matrix = torch.zeros(size, length, dtype=torch.float64)
    rows = torch.arange(size)
    matrix[rows, low] = 1 - (at - low)
    if length > 1:
        matrix[rows, low + 1] = at - low
    return matrix
