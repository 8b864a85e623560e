"""The surest specialist where it is sure enough, else the general expert."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from sam_moe.errors import ConfigError
from sam_moe.moe.selection import ExpertIndex, Selection, check_index, rows_in, single
from sam_moe.shapes import Float


@dataclass(frozen=True)
class Threshold:
    """The surest specialist where its confidence reaches `tau`, else the general expert (arXiv 2407.04938).

    The general expert's own confidence counts only through the softmax. NaN reaches no threshold.
    """

    name: ClassVar[str] = "threshold"
    tau: float = 0.5
    general: ExpertIndex = 0

    def __post_init__(self) -> None:
        if not 0 <= self.tau <= 1:
            raise ConfigError(f"threshold {self.tau} is no confidence. Expected 0 to 1.")

    def select(self, confidence: Float[Tensor, "*rows e"]) -> Selection:
        """One expert a row."""
        check_index(self.general, confidence, "the general expert")
        best, index = self._best(confidence)
        sure = best >= self.tau
        return single(index.where(sure, self.general), ~sure, confidence)

    def explain(self, confidence: Float[Tensor, "*rows e"], chosen: Selection) -> tuple[str, ...]:
        """The comparison made."""
        if confidence.shape[-1] == 1:
            return ("fell back: no other expert",) * rows_in(confidence)
        best, _ = self._best(confidence)
        pairs = zip(best.flatten().tolist(), chosen.fell_back.flatten().tolist(), strict=True)
        return tuple(
            f"fell back: best {b:.3g} < {self.tau:g}" if fell else f"threshold {b:.3g} >= {self.tau:g}"
            for b, fell in pairs
        )

    def describe(self, experts: Sequence[str] = ()) -> str:
        """The rule in words."""
        general = experts[self.general] if experts else "the general one"
        return f"threshold {self.tau:g}: the surest expert, {general} below that confidence"

    def _best(self, confidence: Tensor) -> tuple[Tensor, Tensor]:
        specialists = confidence.detach().nan_to_num(nan=-1.0)
        specialists[..., self.general] = -1
        best, index = specialists.max(dim=-1)
        return best, index
