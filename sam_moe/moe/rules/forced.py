"""One expert, whatever the gate's scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sam_moe.moe.selection import ExpertIndex, Selection, check_index, never, rows_in, single
from sam_moe.shapes import Float


@dataclass(frozen=True)
class Forced:
    """One expert whatever the gate's scores: for hard routing by the true task, and for one asked by name."""

    name: ClassVar[str] = "forced"
    index: ExpertIndex = 0

    def select(self, confidence: Float[Tensor, "*rows e"]) -> Selection:
        """Always this expert."""
        check_index(self.index, confidence, "the forced expert")
        none = never(confidence)
        return single(torch.full_like(none, self.index, dtype=torch.long), none, confidence)

    def explain(self, confidence: Float[Tensor, "*rows e"], chosen: Selection) -> tuple[str, ...]:
        """That it was asked for."""
        return ("asked for",) * rows_in(confidence)

    def describe(self, experts: Sequence[str] = ()) -> str:
        """The rule in words."""
        return f"always {experts[self.index] if experts else f'expert {self.index}'}"
