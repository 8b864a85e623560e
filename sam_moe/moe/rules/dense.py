"""Every expert, weighted by its confidence."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sam_moe.moe.selection import Selection, never, rows_in
from sam_moe.shapes import Float


@dataclass(frozen=True)
class Dense:
    """Every expert, weighted by its confidence; every expert runs, so cost grows with their number."""

    name: ClassVar[str] = "dense"

    def select(self, confidence: Float[Tensor, "*rows e"]) -> Selection:
        """All, in the gate's order."""
        every = torch.arange(confidence.shape[-1], device=confidence.device).expand(confidence.shape)
        return Selection(every, confidence, never(confidence))

    def explain(self, confidence: Float[Tensor, "*rows e"], chosen: Selection) -> tuple[str, ...]:
        """That all answer."""
        return (f"all {confidence.shape[-1]} by confidence",) * rows_in(confidence)

    def describe(self, experts: Sequence[str] = ()) -> str:
        """The rule in words."""
        return "all, weighted by confidence"
