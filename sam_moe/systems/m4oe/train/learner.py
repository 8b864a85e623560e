"""M4oE as a learner: its first weights, and the loss of each phase."""

from collections.abc import Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from sam_moe.moe.losses import domain_loss
from sam_moe.moe.routing import Routing
from sam_moe.registry import ExpertMixture, HostSizes
from sam_moe.shapes import Float, Int
from sam_moe.systems.m4oe.model import M4oE, Slices
from sam_moe.systems.m4oe.train.losses import segmentation_loss
from sam_moe.training.engine.seeds import seeded

# Which loss a phase has: labels by known experts, gates alone, or labels by gates with the domain kept.
Aim = Literal["known", "gate", "gated", "added"]


class SlicesLoss(nn.Module):
    """The loss of a batch of `training.slices.drawing.DrawnSlices`.

    Args:
        model: what learns.
        aim: "known" answers each slice by its data set's expert; "gate" asks the gates alone, on the features
            of the known experts; "gated" answers by the gates, with `domain` times their cross-entropy;
            "added" answers by the known experts, with their gates' cross-entropy beside it.
        domain: weight of that cross-entropy in "gated".
    """

    def __init__(self, model: M4oE, aim: Aim, domain: float = 0.1) -> None:
        super().__init__()
        self.model, self.aim, self.domain = model, aim, domain

    def forward(self, batch: Mapping[str, Tensor], rng: torch.Generator) -> Float[Tensor, ""]:
        """The mean loss."""
        model, heads = self.model, batch["set"]
        slices = Slices(batch["image"], heads, batch["scan"])
        known = model.known(heads)
        logits, found = model(slices, None if self.aim == "gated" else known)
        if self.aim == "gate":
            return gate_loss(found.values(), known.index)
        loss = segmentation_loss(logits, batch["target"], batch["contoured"], heads, model.host.sizes.classes)
        weight = {"gated": self.domain, "added": 1.0}.get(self.aim, 0.0)
        return loss + weight * gate_loss(found.values(), known.index) if weight else loss


def gate_loss(found: Iterable[Routing], owners: Int[Tensor, " b"]) -> Float[Tensor, ""]:
    """The cross-entropy of each gate with the expert of each row's data set, over gates and rows."""
    losses = [domain_loss(routing.logits, owners) for routing in found]
    return torch.stack(losses).mean()


def fresh_model(sizes: HostSizes, mixture: ExpertMixture, owners: tuple[int, ...], seed: int) -> M4oE:
    """A model with the initial weights that training starts from."""
    with seeded(seed):
        return M4oE(sizes, mixture, owners)
