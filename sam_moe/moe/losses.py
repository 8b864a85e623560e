"""What a gate can learn from: who owns a case, who scored best on it, or how good the fused mask was."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from sam_moe.moe.fusion import Fusion, fuse
from sam_moe.moe.selection import confidence_of
from sam_moe.shapes import Float, Int


def owner_loss(logits: Float[Tensor, "b e"], owner: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Cross-entropy with the expert that was finetuned for the case's structure; 0 where that is none."""
    return F.cross_entropy(logits, owner, reduction="none")


def best_loss(
    logits: Float[Tensor, "b e"], scores: Float[Tensor, "b e"], temperature: float = 0.05
) -> Float[Tensor, " b"]:
    """Cross-entropy with who scored best on the case: the softmax of scores (Dice, say) over `temperature`.

    Near-equals share the case, so that chance does not decide it; at temperature 0 the first of the best has
    it, which at a draw is the general expert if it is among them (ours).
    """
    if temperature > 0:
        wanted = (scores / temperature).softmax(dim=-1)
    else:
        wanted = F.one_hot(scores.argmax(dim=-1), scores.shape[-1]).to(logits)
    return F.cross_entropy(logits, wanted, reduction="none")


def fused_loss(
    logits: Float[Tensor, "b e"],
    answers: Float[Tensor, "b e l l l"],
    target: Float[Tensor, "b l l l"],
    how: Fusion,
    mask_loss: Callable[[Tensor, Tensor], Float[Tensor, " b"]],
) -> Float[Tensor, " b"]:
    """The loss of the mask that all experts' answers give, weighted by confidence (`Dense` selection).

    `mask_loss(logits, target)` gives a value a case; the answers can come from a cache, no decoder is run.
    """
    return mask_loss(fuse(answers, confidence_of(logits), how), target)


def balance_loss(logits: Float[Tensor, "b e"]) -> Float[Tensor, ""]:
    """Load balance over a batch: `e * sum(share * mean confidence)` (Switch Transformers, arXiv 2101.03961).

    1 where all experts are chosen alike, up to `e` where one is always surely chosen. Only confidence carries
    gradients; the share of prompts an expert is surest of does not.
    """
    confidence = confidence_of(logits)
    experts = logits.shape[-1]
    share = torch.bincount(confidence.argmax(dim=-1), minlength=experts) / len(logits)
    return experts * (share * confidence.mean(dim=0)).sum()
