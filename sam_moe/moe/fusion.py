"""How the answers of several experts become one."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from sam_moe.errors import ConfigError
from sam_moe.moe.names import Fusion
from sam_moe.moe.selection import SelectionRule, is_raw
from sam_moe.shapes import Float


def weighted_sum(answers: Float[Tensor, "..."], weights: Float[Tensor, "*rows k"]) -> Float[Tensor, "..."]:
    """The sum over the experts' axis of answer times weight, for features and raw weights alike.

    `answers` have the shape of `weights`, then of one answer.
    """
    return (answers * _like(weights, answers)).sum(dim=weights.ndim - 1)


def check_fusion(rule: SelectionRule, how: Literal["sum"] | Fusion) -> None:
    """See that the weights that a rule gives can be fused so.

    Raises:
        ConfigError: for raw weights where an average of logits or probabilities needs a sum of 1.
    """
    if how != "sum" and is_raw(rule):
        raise ConfigError(
            f"{rule!r} keeps raw confidences, which do not sum to 1, and fusing {how} averages by weights "
            'that do: answers would shrink. Leave `raw` out, or fuse by "sum".'
        )


def fuse(
    answers: Float[Tensor, "..."], weights: Float[Tensor, "*rows k"], how: Fusion
) -> Float[Tensor, "..."]:
    """Average the experts' logits, or their probabilities, by weights that sum to 1; logits either way.

    `answers` have the shape of `weights`, then of one answer. One expert's answer comes back bit for bit,
    whatever its weight. Probabilities are sigmoids of logits; fused, they become logits without leaving the
    logarithm, so that a sure answer stays finite. The paper (arXiv 2407.04938) does not say which it fuses.
    """
    axis = weights.ndim - 1
    if weights.shape[-1] == 1:
        return answers.squeeze(axis)
    if how == "logits":
        return weighted_sum(answers, weights)
    share = _like(weights, answers)
    share = share.clamp(min=torch.finfo(share.dtype).tiny).log()
    inside = torch.logsumexp(share + F.logsigmoid(answers), dim=axis)
    return inside - torch.logsumexp(share + F.logsigmoid(-answers), dim=axis)


def _like(weights: Tensor, answers: Tensor) -> Tensor:
    """Weights in the answers' dtype, with an axis for each of theirs."""
    return weights.reshape(*weights.shape, *[1] * (answers.ndim - weights.ndim)).to(answers)
