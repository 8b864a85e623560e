"""Connected parts of a mask: the largest one, and those that given voxels lie in."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sam_moe.shapes import Bool, Int

Voxel = tuple[int, int, int]


def largest_part(mask: Bool[Tensor, "i j k"]) -> Bool[Tensor, "i j k"]:
    """The connected part with most voxels, corners connecting; of equals the first; empty of an empty one."""
    parts, count = _labelled(mask, np.ones((3, 3, 3), dtype=bool))
    if count <= 1:
        return mask
    return torch.from_numpy(parts == int(np.bincount(parts.ravel())[1:].argmax()) + 1)


def parts_at(mask: Bool[Tensor, "i j k"], voxels: Sequence[Voxel]) -> Bool[Tensor, "i j k"]:
    """The parts of a mask, connected by faces, that voxels lie in; empty where none lies in it.

    A voxel outside the array lies in no part.
    """
    places = torch.tensor(voxels, dtype=torch.int64).reshape(-1, 3)
    places = places[((places >= 0) & (places < torch.tensor(mask.shape))).all(dim=1)]
    if not bool(mask[tuple(places.T)].any()):  # most often there is nothing to label
        return torch.zeros_like(mask)
    parts, _ = _labelled(mask, None)
    numbers = parts[tuple(places.numpy().T)]
    return torch.from_numpy(np.isin(parts, numbers[numbers > 0]))


def _labelled(
    mask: Bool[Tensor, "i j k"], structure: Bool[np.ndarray, "3 3 3"] | None
) -> tuple[Int[np.ndarray, "i j k"], int]:
    """The number of each voxel's part, 0 outside the mask, and how many parts there are."""
    from scipy import ndimage

    parts, count = ndimage.label(mask.numpy(), structure=structure)
    return parts, int(count)
