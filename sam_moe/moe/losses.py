"""What a gate can learn from: a known owner or domain, scores, labels, the fused answer, an even load."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from sam_moe.moe.fusion import fuse
from sam_moe.moe.names import Fusion
from sam_moe.moe.selection import confidence_of
from sam_moe.shapes import Float, Int


def owner_loss(logits: Float[Tensor, "b e"], owner: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Cross-entropy with the expert that a case belongs to; 0 is the general expert, where no other is."""
    return F.cross_entropy(logits, owner, reduction="none")


def best_loss(
    logits: Float[Tensor, "b e"], scores: Float[Tensor, "b e"], temperature: float = 0.05
) -> Float[Tensor, " b"]:
    """Cross-entropy with the best scores on the case: their softmax (of Dice, say) over `temperature`.

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
    answers: Float[Tensor, "b e ..."],
    target: Float[Tensor, "b ..."],
    how: Fusion,
    answer_loss: Callable[[Tensor, Tensor], Float[Tensor, " b"]],
) -> Float[Tensor, " b"]:
    """The loss of what all experts' answers give, weighted by confidence (`Dense` selection).

    `answer_loss(logits, target)` gives a value a case; the answers can come from a cache, no expert is run.
    """
    return answer_loss(fuse(answers, confidence_of(logits), how), target)


def balance_loss(logits: Float[Tensor, "*rows e"]) -> Float[Tensor, ""]:
    """Load balance over all rows: `e * sum(share * mean confidence)` (Switch Transformers, arXiv 2101.03961).

    1 where all experts are chosen alike, up to `e` where one is always surely chosen. Only confidence carries
    gradients; the share of rows that an expert is surest of does not.
    """
    confidence = confidence_of(logits).flatten(0, -2)
    experts = logits.shape[-1]
    share = torch.bincount(confidence.argmax(dim=-1), minlength=experts) / len(confidence)
    return experts * (share * confidence.mean(dim=0)).sum()


def domain_loss(logits: Float[Tensor, "b *places e"], domain: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Cross-entropy of a case's mean logits with the expert of its known domain, such as its modality.

    Med-MoE (arXiv 2404.10237) trains its router so, `-sum_i y_i log p(y_i | T)`, on the tokens `T` of an
    image and its text. That they are pooled by the mean of their logits is ours; for a linear gate it is the
    logit of the mean token.
    """
    pooled = logits.reshape(len(logits), -1, logits.shape[-1]).mean(dim=1)
    return F.cross_entropy(pooled, domain, reduction="none")


def label_consistency_loss(
    logits: Float[Tensor, "*rows e"], right: Float[Tensor, "*rows e"], temperature: float = 0.1
) -> Float[Tensor, "*rows"]:
    """Kullback-Leibler divergence of the gate's weights from those that agree with the labels.

    A reconstruction of IC-MoE's label consistency, whose formula is not public: `KL(q || w)` with
    `q = softmax(right / temperature)` over the experts, where `right` is the probability that each expert
    gives to a row's true label, and `w` the softmax of the gate's logits. 0 where the gate already weighs
    the experts so. No gradients flow through `right`.
    """
    wanted = (right.detach() / temperature).log_softmax(dim=-1)
    return (wanted.exp() * (wanted - logits.log_softmax(dim=-1))).sum(dim=-1)
