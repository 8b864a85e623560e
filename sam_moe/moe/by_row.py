"""The known expert of each row, whatever the gate's scores."""

from dataclasses import dataclass

from torch import Tensor

from sam_moe.moe.selection import Selection, check_index, never, rows_in, single
from sam_moe.shapes import Float, Int


@dataclass(frozen=True, eq=False)
class ByRow:
    """For each row of a batch an expert known beforehand, as of its data set; no card can name this rule.

    Args:
        index: the expert of each row of the first axis, by its column.
    """

    index: Int[Tensor, " b"]

    def select(self, confidence: Float[Tensor, "b *rows e"]) -> Selection:
        """Each row's own expert, for all that is routed in the row.

        Raises:
            ConfigError: for an expert without a column.
        """
        for index in self.index.unique().tolist():
            check_index(index, confidence, "the known expert of a row")
        none = never(confidence)
        index = self.index.reshape(-1, *[1] * (none.ndim - 1)).expand(none.shape)
        return single(index, none, confidence)

    def explain(self, confidence: Float[Tensor, "b *rows e"], chosen: Selection) -> tuple[str, ...]:
        """That it was known."""
        return ("known",) * rows_in(confidence)
