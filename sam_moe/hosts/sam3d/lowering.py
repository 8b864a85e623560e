"""A box lowered to what given weights understand, by a strategy with a name.

`corners`: two corner embeddings, for weights that have them. `center`: a positive click in the middle.
`mask`: the box drawn as logits into the low-resolution mask prompt, with the click in its middle. The
public weights know no box, so for them the last two are all there is. Which one is best is measured
(benchmarks/quality/boxes.py), not believed.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from sam_moe.shapes import Float, Int

BoxStrategy = Literal["center", "mask", "corners"]

# Logits of inside and outside in a drawn box: a confident but not a saturated answer of a previous round
# ("ours").
DRAWN_LOGIT = 4.0


class LoweredBox(NamedTuple):
    """What to hand to the prompt encoder for a box."""

    points: Float[Tensor, "b 1 3"] | None
    labels: Int[Tensor, "b 1"] | None
    boxes: Float[Tensor, "b 2 3"] | None
    mask: Float[Tensor, "b 1 l l l"] | None


def lower_box(
    box: Float[Tensor, "b 2 3"], strategy: BoxStrategy, image_size: int, low_res: int
) -> LoweredBox:
    """Lower half-open boxes in the region's voxels, [start, stop) on each axis."""
    start, stop = box[:, 0], box[:, 1]
    if strategy == "corners":  # the centres of the first and the last voxel inside
        return LoweredBox(None, None, torch.stack([start, stop - 1], dim=1), None)
    middle = ((start + stop - 1) / 2)[:, None]
    positive = torch.ones(len(box), 1, dtype=torch.long, device=box.device)
    mask = draw_box(box, image_size, low_res) if strategy == "mask" else None
    return LoweredBox(middle, positive, None, mask)


def draw_box(box: Float[Tensor, "b 2 3"], image_size: int, low_res: int) -> Float[Tensor, "b 1 l l l"]:
    """Draw half-open boxes as logits; a border voxel that is partly covered gets the share between."""
    edge = torch.arange(low_res, device=box.device, dtype=box.dtype) * (image_size / low_res)
    start, stop = box[:, 0, :, None], box[:, 1, :, None]
    step = image_size / low_res
    covered = (torch.minimum(stop, edge + step) - torch.maximum(start, edge)).clamp(0) / step
    x, y, z = covered.unbind(1)
    inside = x[:, :, None, None] * y[:, None, :, None] * z[:, None, None, :]
    return (DRAWN_LOGIT * (2 * inside - 1))[:, None]
