"""The surest expert, general or not."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from sam_moe.moe.selection import Selection, never, single
from sam_moe.shapes import Float


@dataclass(frozen=True)
class Argmax:
    """The surest expert, be it the general one."""

    name: ClassVar[str] = "argmax"

    def select(self, confidence: Float[Tensor, "*rows e"]) -> Selection:
        """One expert a row."""
        return single(confidence.argmax(dim=-1), never(confidence), confidence)

    def explain(self, confidence: Float[Tensor, "*rows e"], chosen: Selection) -> tuple[str, ...]:
        """The confidence it had."""
        return tuple(f"surest: {best:.3g}" for best in confidence.amax(dim=-1).flatten().tolist())

    def describe(self, experts: Sequence[str] = ()) -> str:
        """The rule in words."""
        return "the surest, the general one like any other"
