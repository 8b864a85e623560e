"""The loss and the learning rate of M4oE's public code, for who wants to repeat its training."""

from collections.abc import Sequence

import torch
from monai.losses.dice import DiceLoss
from torch import Tensor
from torch.nn import functional as F

from sam_moe.shapes import Float, Int

OUTSIDE = -1  # the label of pixels that nnU-Net's preprocessing takes for outside of the scan
_SMOOTH = 1e-5
_POWER = 0.9


def public_loss(
    logits: Float[Tensor, "b k h w"],
    target: Int[Tensor, "b h w"],
    classes: Sequence[int],
    cross_entropy: float = 0.4,
    dice: float = 0.7,
) -> Float[Tensor, ""]:
    """`0.4 CE + 0.7 Dice` of each row by itself, then their mean; the public validation has 0.6 Dice.

    Dice is over all classes with the background, denominators squared, smoothed by 1e-5. A pixel of label -1
    is left out of the cross-entropy; Dice counts what is predicted there against every class (a quirk, kept).
    A row that is -1 throughout has cross-entropy 0, where the public code has NaN. An absent class costs
    about 1 and teaches nothing, so the loss of a slice with few classes stays high. 0 rows give NaN.

    Args:
        logits: filled up to the most classes in the batch.
        target: class of each pixel, or -1.
        classes: how many classes each row's head has.
        cross_entropy: the weight of that term.
        dice: that of the other.
    """
    overlap = DiceLoss(softmax=True, squared_pred=True, smooth_nr=_SMOOTH, smooth_dr=_SMOOTH)
    losses = []
    for row, count in enumerate(classes):
        found, wanted = logits[row : row + 1, :count], target[row : row + 1]
        shown = torch.stack([wanted == number for number in range(count)], dim=1).to(logits)
        loss = dice * overlap(found, shown)
        if (wanted != OUTSIDE).any():
            loss = loss + cross_entropy * F.cross_entropy(found, wanted, ignore_index=OUTSIDE)
        losses.append(loss)
    return torch.stack(losses).mean()


def public_rate(step: int, steps: int) -> float:
    """Share of the base learning rate at a step: `(1 - (step - 1) / steps)^0.9`, and 1 at step 0.

    The public code sets the rate after the step that it is meant for, so steps 0 and 1 share the first.
    """
    return float((1 - max(0, step - 1) / steps) ** _POWER)
