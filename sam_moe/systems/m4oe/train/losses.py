"""The loss of labelled slices of several data sets, of which each case may lack some contours."""

from collections.abc import Sequence

import torch
from monai.losses.dice import DiceLoss
from torch import Tensor
from torch.nn import functional as F

from sam_moe.shapes import Bool, Float, Int

_NEVER = -1e4  # a logit of no weight, finite so that its gradient is 0 and no NaN


def segmentation_loss(
    logits: Float[Tensor, "b k h w"],
    target: Int[Tensor, "b h w"],
    contoured: Bool[Tensor, "b c"],
    sets: Int[Tensor, " b"],
    classes: Sequence[int],
) -> Float[Tensor, ""]:
    """Cross-entropy and Dice loss, each data set's rows by themselves, weighed by their number (ours).

    A class that a row's case has no contours of counts as background there. Dice is taken over all pixels of
    a data set's rows, and over the classes that they show: of an absent class it is constant.

    Args:
        logits: filled up to the most classes of the sets in the batch.
        target: class of each pixel, 0 for the background.
        contoured: which classes the case of each row has contours of, the background always; perhaps more
            classes than the batch has.
        sets: the data set of each row.
        classes: how many classes each data set has.
    """
    total = logits.new_zeros(())
    for number in sets.unique().tolist():
        rows, count = sets == number, classes[number]
        found = merged(logits[rows, :count], contoured[rows, :count])
        wanted = target[rows]
        loss = F.cross_entropy(found, wanted) + dice_loss(found, wanted)
        total = total + loss * rows.float().mean()
    return total


def merged(logits: Float[Tensor, "b k h w"], contoured: Bool[Tensor, "b k"]) -> Float[Tensor, "b k h w"]:
    """Logits in which classes without contours have given their probability to the background."""
    if contoured.all():
        return logits
    lacking = ~contoured[:, :, None, None]
    joined = contoured.clone()
    joined[:, 0] = False  # what is left: all that counts as background, but for the background itself
    background = logits.masked_fill(joined[:, :, None, None], -torch.inf).logsumexp(dim=1, keepdim=True)
    others = logits[:, 1:].masked_fill(lacking[:, 1:], _NEVER)
    return torch.cat([background, others], dim=1)


def dice_loss(logits: Float[Tensor, "b k h w"], target: Int[Tensor, "b h w"]) -> Float[Tensor, ""]:
    """Mean Dice loss, over all rows at once, of the classes that they show; 0 where they show none."""
    by_class: Tensor = DiceLoss(
        include_background=False, to_onehot_y=True, softmax=True, batch=True, reduction="none"
    )(logits, target[:, None]).flatten()
    shown = torch.stack([(target == number).any() for number in range(1, logits.shape[1])])
    total: Tensor = (by_class * shown).sum()
    return total / shown.sum().clamp(min=1)
