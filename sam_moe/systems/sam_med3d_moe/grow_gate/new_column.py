"""A gate's further column: fitted on a few prompts, the old columns untouched, old routing kept."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from sam_moe.errors import ConfigError
from sam_moe.moe.gate import Gate
from sam_moe.moe.selection import SelectionRule, confidence_of, shares
from sam_moe.shapes import Float, Int
from sam_moe.systems.sam_med3d_moe.gate import GateInput

# Share of the old experts' kept prompts that must go where they went.
LEAST_KEPT = 0.99
_DECAY = 1e-3


@dataclass(frozen=True)
class Grown:
    """A gate with a further column, and how well old and new get along.

    `kept` is the share of the old experts' prompts that go where they went, `reached` that of the examples'
    which reach the new one, both by the gate's own rule, answers of several experts counting by weight; for
    both, its bias was `lowered`, in logits.
    """

    gate: Gate
    kept: float
    reached: float
    lowered: float

    def __str__(self) -> str:
        lowered = f" (its bias lowered by {self.lowered:.1f} for that)" if self.lowered else ""
        return (
            f"{self.reached:.0%} of the examples' prompts reach it; old routing kept {self.kept:.1%}{lowered}"
        )


def fit_column(
    gate: Gate,
    banks: Sequence[GateInput],
    examples: GateInput,
    rule: SelectionRule,
    least_kept: float = LEAST_KEPT,
) -> Grown:
    """Append a column by logistic regression of its examples against what the other experts' banks hold.

    Trunk and old columns stay to the bit: only the new weights move, in the softmax over all columns, each
    expert's prompts counting alike (ours). The new column lowers everyone's confidence, so its bias is then
    lowered until at least `least_kept` of the banks' prompts go where they went.

    Raises:
        ConfigError: where after that none of the examples reaches the new expert.
    """
    if len(banks) != gate.experts:
        raise ConfigError(f"{len(banks)} banks for {gate.experts} columns. Expected one a column, in order.")
    parts = [*banks, examples]
    seen = joined(parts)
    owner = torch.cat([torch.full((len(p.pooled),), n) for n, p in enumerate(parts)])
    with torch.no_grad():
        hidden, old = gate.hidden(seen).double(), gate(seen)
    weight, bias = _logistic(hidden, old.double(), owner)
    old_rows = owner < gate.experts
    before = shares(rule, confidence_of(old))
    own = (hidden @ weight + bias).float()[:, None]
    for step in range(400):
        lowered = step / 10
        now = shares(rule, confidence_of(torch.cat([old, own - lowered], dim=1)))
        kept = float(torch.minimum(now[:, :-1], before)[old_rows].sum(dim=1).mean())
        if kept >= least_kept:
            break
    reached = float(now[~old_rows, -1].mean())
    if reached == 0 or kept < least_kept:
        there = before[~old_rows].sum(dim=0).argmax()
        raise ConfigError(
            "the gate cannot separate the examples from what its other experts answer: with the new column, "
            f"lowered until {least_kept:.0%} of old routing is kept, none of them reaches it, and most go to "
            f"column {int(there)}. Train the gate anew: sam-moe train-gate."
        )
    with torch.no_grad():
        column = gate.add_column()
        column.weight.copy_(weight)
        column.bias.copy_(bias - lowered)
    return Grown(gate, kept, reached, lowered)


def joined(parts: Sequence[GateInput]) -> GateInput:
    """The prompts of all parts, in float32."""
    return GateInput(*(torch.cat([getattr(p, f).float() for p in parts]) for f in GateInput._fields))


def _logistic(
    hidden: Float[Tensor, "n h"], old: Float[Tensor, "n e"], owner: Int[Tensor, " n"]
) -> tuple[Float[Tensor, " h"], Float[Tensor, ""]]:
    """Weights and bias of the new column; convex, so that L-BFGS finds the one answer."""
    weight = torch.zeros(hidden.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros((), dtype=torch.float64, requires_grad=True)
    share = 1.0 / torch.bincount(owner).double()[owner]
    solver = torch.optim.LBFGS([weight, bias], max_iter=300, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        solver.zero_grad()
        logits = torch.cat([old, (hidden @ weight + bias)[:, None]], dim=1)
        loss = (F.cross_entropy(logits, owner, reduction="none") * share).sum()
        loss = loss + _DECAY * weight.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        solver.step(closure)
    return weight.detach(), bias.detach()
