"""How the answers of several experts become one mask."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from sam_moe.shapes import Float

Fusion = Literal["logits", "probabilities"]


def fuse(
    answers: Float[Tensor, "b k l l l"], weights: Float[Tensor, "b k"], how: Fusion
) -> Float[Tensor, "b l l l"]:
    """Average the experts' logits, or their probabilities, by weights that sum to 1; logits either way.

    One expert's answer comes back bit for bit. Fused probabilities become logits without leaving the
    logarithm, so that a sure answer stays finite. The paper does not say which it fuses.
    """
    if answers.shape[1] == 1:
        return answers[:, 0]
    weights = weights[..., None, None, None].to(answers)
    if how == "logits":
        return (answers * weights).sum(dim=1)
    share = weights.clamp(min=torch.finfo(weights.dtype).tiny).log()
    inside = torch.logsumexp(share + F.logsigmoid(answers), dim=1)
    return inside - torch.logsumexp(share + F.logsigmoid(-answers), dim=1)
