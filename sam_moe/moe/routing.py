"""Who answered a prompt, how sure the gate was, and why it was they."""

from dataclasses import dataclass

from torch import Tensor

from sam_moe.moe.selection import Selection, confidence_of
from sam_moe.shapes import Float


@dataclass(frozen=True)
class Routing:
    """How a batch of prompts found its experts: `ids` in the gate's order, `why` in words, one a prompt."""

    ids: tuple[str, ...]
    logits: Float[Tensor, "b e"]
    selection: Selection
    why: tuple[str, ...]

    @property
    def confidence(self) -> Float[Tensor, "b e"]:
        """The gate's confidence in each expert."""
        return confidence_of(self.logits)

    @property
    def answered(self) -> tuple[dict[str, float], ...]:
        """For each prompt the experts that answered, with their weights in the fused mask, heaviest first."""
        rows = zip(self.selection.experts.tolist(), self.selection.weights.tolist(), strict=True)
        named = ({self.ids[i]: weight for i, weight in zip(*row, strict=True)} for row in rows)
        return tuple(dict(sorted(row.items(), key=lambda item: -item[1])) for row in named)
