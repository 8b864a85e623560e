"""Who answered each prompt, token or pixel, how sure the gate was, and why it was they."""

from dataclasses import dataclass, replace

from torch import Tensor

from sam_moe.moe.names import Granularity
from sam_moe.moe.selection import Selection, SelectionRule, confidence_of, spread
from sam_moe.shapes import Float


@dataclass(frozen=True)
class Routing:
    """How rows found their experts: a row is one prompt, token or pixel, in any number of axes.

    `ids` are the experts in the gate's order, `rule` is what selected them.
    """

    ids: tuple[str, ...]
    logits: Float[Tensor, "*rows e"]
    selection: Selection
    rule: SelectionRule
    granularity: Granularity = "prompt"

    @property
    def confidence(self) -> Float[Tensor, "*rows e"]:
        """The gate's confidence in each expert."""
        return confidence_of(self.logits)

    @property
    def weights(self) -> Float[Tensor, "*rows e"]:
        """The weight of each expert in each row's answer, 0 where it was not chosen.

        They sum to 1 over the experts, unless the rule keeps raw confidences.
        """
        return spread(self.selection, self.logits)

    @property
    def why(self) -> tuple[str, ...]:
        """A few words for each row, in the order of `flatten`, made when they are asked for."""
        return self.rule.explain(self.confidence, self.selection)

    @property
    def answered(self) -> tuple[dict[str, float], ...]:
        """For each row, in the order of `flatten`, who answered and with which weight, heaviest first."""
        chosen = (part.flatten(0, -2).tolist() for part in self.selection[:2])
        named = ({self.ids[i]: w for i, w in zip(*row, strict=True)} for row in zip(*chosen, strict=True))
        return tuple(dict(sorted(row.items(), key=lambda item: -item[1])) for row in named)

    def detached(self) -> "Routing":
        """The same without gradients, to be kept."""
        experts, weights, fell_back = self.selection
        kept = Selection(experts, weights.detach(), fell_back)
        return replace(self, logits=self.logits.detach(), selection=kept)
