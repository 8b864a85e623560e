"""A place in a host's block where modality-specific experts answer."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from sam_moe.moe.dispatching.wide import FeedForward
from sam_moe.moe.experts import ExpertDict
from sam_moe.moe.gate import GateShape
from sam_moe.moe.gates.linear import Linear
from sam_moe.moe.names import Pooling, Scores
from sam_moe.moe.routing import Routing
from sam_moe.moe.rules.dense import Dense
from sam_moe.moe.rules.uniform import Uniform
from sam_moe.moe.selection import SelectionRule
from sam_moe.moe.site import MoESite, SiteKind
from sam_moe.registry import ExpertMixture
from sam_moe.shapes import Float, Int

# Forced experts come with each batch; what stands here answers where none came.
_RULES: dict[Scores, SelectionRule] = {
    "expert": Dense(),
    "channel": Uniform(raw=True),
    "forced": Dense(),
    "uniform": Uniform(),
}


@dataclass(frozen=True, eq=False)
class Asked:
    """What one pass through a host is asked.

    Args:
        scans: of which scan each row is, for gates that see whole scans; by default each row is one.
        rule: selects instead of the places' own.
        found: the routing of each place, by its name, once it has answered.
    """

    scans: Int[Tensor, " b"] | None = None
    rule: SelectionRule | None = None
    found: dict[str, Routing] = field(default_factory=dict)


class Shared(nn.Module):
    """A place without gate: one feed-forward part for all."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.shared = FeedForward(width, hidden)

    def forward(self, x: Float[Tensor, "b n c"], asked: Any = None) -> Float[Tensor, "b n c"]:
        """The part's answer to each vector."""
        answer: Tensor = self.shared(x)
        return answer


class ExpertPlace(nn.Module):
    """Feed-forward experts, weighed by a gate on the vectors that they answer.

    With scores "channel" the sum of all experts is multiplied by a softmax over channels,
    `softmax_c(W x) * sum_e E_e(x)`, as M4oE's public code computes; its paper weighs experts.

    Args:
        name: of the place in its host.
        width, hidden: of the vectors, and within an expert.
        mixture: experts, scores and pooling.
    """

    def __init__(self, name: str, width: int, hidden: int, mixture: ExpertMixture) -> None:
        super().__init__()
        self.name, self.pooling = name, mixture.pooling
        self.site = MoESite(
            {id: FeedForward(width, hidden) for id in mixture.experts},
            Linear(GateShape(width), len(mixture.experts)),
            _RULES[mixture.scores],
            SiteKind(
                "token" if mixture.pooling == "token" else "prompt",
                "sum",
                # In the public network's order of summation: its logits magnify the last digits
                "dense" if mixture.scores == "channel" else "wide",
            ),
        )
        self.gating_network = nn.Linear(width, width) if mixture.scores == "channel" else None

    def expert(self, id: str) -> nn.Module:
        """The expert of this id here."""
        assert isinstance(self.site.experts, ExpertDict)
        return self.site.experts[id]

    def forward(self, x: Float[Tensor, "b n c"], asked: Asked | None = None) -> Float[Tensor, "b n c"]:
        """The experts' joint answer to each vector; the routing goes to what was `asked`."""
        asked = Asked() if asked is None else asked
        y, routing = self.site(x, pooled(x, self.pooling, asked.scans), asked.rule)
        asked.found[self.name] = routing
        answer: Tensor = y
        if self.gating_network is not None:
            answer = self.gating_network(x).softmax(dim=-1) * answer
        return answer


def pooled(
    x: Float[Tensor, "b n c"], pooling: Pooling, scans: Int[Tensor, " b"] | None = None
) -> Float[Tensor, "b *n c"]:
    """What a gate sees: each vector, or the mean of a row's, or of all rows of one scan."""
    if pooling == "token":
        return x
    mean = x.mean(dim=1)
    if pooling == "slice" or scans is None:
        return mean
    _, index = scans.unique(return_inverse=True)
    count = int(index.max()) + 1
    total = torch.zeros(count, mean.shape[1], dtype=mean.dtype, device=mean.device)
    total = total.index_add(0, index, mean)
    rows = torch.bincount(index, minlength=count).to(mean)
    return (total / rows[:, None])[index]
