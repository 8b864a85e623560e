"""Every expert alike, whatever the gate's scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sam_moe.moe.selection import Selection, never, rows_in
from sam_moe.shapes import Float


@dataclass(frozen=True)
class Uniform:
    """Every expert with the same weight: the control of a gate, and M4oE's public sum of experts.

    Args:
        raw: each has weight 1, so that answers are added; else they are averaged.
    """

    name: ClassVar[str] = "uniform"
    raw: bool = False

    def select(self, confidence: Float[Tensor, "*rows e"]) -> Selection:
        """All, in the gate's order."""
        count = confidence.shape[-1]
        every = torch.arange(count, device=confidence.device).expand(confidence.shape)
        weights = torch.full_like(confidence, 1.0 if self.raw else 1.0 / count)
        return Selection(every, weights, never(confidence))

    def explain(self, confidence: Float[Tensor, "*rows e"], chosen: Selection) -> tuple[str, ...]:
        """That all answer alike."""
        return (f"all {confidence.shape[-1]} alike",) * rows_in(confidence)

    def describe(self, experts: Sequence[str] = ()) -> str:
        """The rule in words."""
        return "all, added" if self.raw else "all, averaged"
