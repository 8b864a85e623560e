"""The k surest experts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from sam_moe.errors import ConfigError
from sam_moe.moe.selection import Selection, never, rows_in
from sam_moe.shapes import Float


@dataclass(frozen=True)
class TopK:
    """The `k` surest, the general one like any other, weighted by confidence; all, where there are fewer.

    Weights are renormalised to sum to 1, unless they are to stay `raw`: then each expert's weight is its own
    confidence, as in Med-MoE (arXiv 2404.10237), and the weights of a row sum to less than 1.
    """

    name: ClassVar[str] = "top_k"
    k: int = 2
    raw: bool = False

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ConfigError(f"k = {self.k} experts answer nothing. Expected 1 or more.")

    def select(self, confidence: Float[Tensor, "*rows e"]) -> Selection:
        """The surest first; weights carry gradients."""
        top, experts = confidence.topk(min(self.k, confidence.shape[-1]), dim=-1)
        weights = top if self.raw else top / top.sum(dim=-1, keepdim=True)
        return Selection(experts, weights, never(confidence))

    def explain(self, confidence: Float[Tensor, "*rows e"], chosen: Selection) -> tuple[str, ...]:
        """How many of how many."""
        text = f"the {chosen.experts.shape[-1]} surest of {confidence.shape[-1]}"
        return (text,) * rows_in(confidence)

    def describe(self, experts: Sequence[str] = ()) -> str:
        """The rule in words."""
        weighted = "by raw confidence" if self.raw else "by confidence"
        return f"the {self.k} surest, weighted {weighted}"
