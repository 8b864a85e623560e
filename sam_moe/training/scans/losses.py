"""What training minimises."""

import torch
from torch import Tensor
from torch.nn import functional as F

from sam_moe.shapes import Float


def dice_and_cross_entropy(
    logits: Float[Tensor, "b ..."], target: Float[Tensor, "b ..."], smooth: float = 1.0
) -> Float[Tensor, " b"]:
    """Soft Dice loss plus binary cross-entropy, a value per answer.

    The reference's choice (DiceCE); `target` may be soft, as a mask averaged to the logits' resolution is.
    In float32 at least, whatever the model computed in. Written out because MONAI 1.6.1's DiceCELoss
    refuses soft and integer targets here.

    >>> import torch
    >>> round(dice_and_cross_entropy(torch.tensor([[50.0, -50.0]]), torch.tensor([[1.0, 0.0]])).item(), 4)
    0.0
    """
    exact = torch.promote_types(logits.dtype, torch.float32)
    logits, target = logits.to(exact).flatten(1), target.to(exact).flatten(1)
    probability = logits.sigmoid()
    overlap = (probability * target).sum(1)
    dice = 1 - (2 * overlap + smooth) / (probability.sum(1) + target.sum(1) + smooth)
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(1)
    return dice + entropy
