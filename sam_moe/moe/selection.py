"""Which experts answer, and with which weights: what a selection rule is given, gives back, and must do."""

from collections.abc import Sequence
from typing import Annotated, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from sam_moe.errors import ConfigError
from sam_moe.shapes import Bool, Float, Int


class _ExpertMark:
    """Marks a field of a rule as the index of an expert."""


# A rule's field that is the index of an expert; its settings may give the expert's id instead.
ExpertIndex = Annotated[int, _ExpertMark]


class Selection(NamedTuple):
    """The experts that answer each row; `fell_back` where the general one did for want of a sure one."""

    experts: Int[Tensor, "*rows k"]
    weights: Float[Tensor, "*rows k"]
    fell_back: Bool[Tensor, "*rows"]


@runtime_checkable
class SelectionRule(Protocol):
    """What a rule does; those in `rules/` are frozen records, any other class with these methods will do.

    A rule whose weights of a row do not sum to 1 has a true attribute `raw`. A row is what is routed by
    itself: a prompt, a token, a pixel. Rows may stand in any number of axes.
    """

    def select(self, confidence: Float[Tensor, "*rows e"]) -> Selection:
        """Choose from each row's confidences; the same ones give the same choice."""

    def explain(self, confidence: Float[Tensor, "*rows e"], chosen: Selection) -> tuple[str, ...]:
        """A few words for each row, in the order of `flatten`: why these answer."""


@runtime_checkable
class NamedRule(SelectionRule, Protocol):
    """A rule that cards and recipes can name: a frozen dataclass, whose fields are its settings."""

    @property
    def name(self) -> str:
        """As cards name it: its file's name in `rules/`, or its entry point's."""

    def describe(self, experts: Sequence[str] = ()) -> str:
        """The rule in a few words; `experts` are the ids in the gate's order, where they are known."""


def is_raw(rule: SelectionRule) -> bool:
    """Whether a rule keeps weights that do not sum to 1: one that has a true `raw`."""
    return bool(getattr(rule, "raw", False))


def confidence_of(logits: Float[Tensor, "*rows e"]) -> Float[Tensor, "*rows e"]:
    """The softmax over all columns, the general expert's included.

    Ours: the paper names no normalisation. One more column keeps all logits, but lowers these.
    """
    return logits.softmax(dim=-1)


def single(
    index: Int[Tensor, "*rows"], fell_back: Bool[Tensor, "*rows"], like: Float[Tensor, "*rows e"]
) -> Selection:
    """One expert a row, of weight 1."""
    return Selection(index[..., None], torch.ones_like(like[..., :1]), fell_back)


def never(confidence: Float[Tensor, "*rows e"]) -> Bool[Tensor, "*rows"]:
    """No row fell back."""
    return torch.zeros_like(confidence[..., 0], dtype=torch.bool)


def rows_in(confidence: Float[Tensor, "*rows e"]) -> int:
    """How many rows there are, over all leading axes."""
    return confidence.shape[:-1].numel()


def check_index(index: int, confidence: Float[Tensor, "*rows e"], what: str) -> None:
    """See that an expert of this index has a column.

    Raises:
        ConfigError: where it has none.
    """
    count = confidence.shape[-1]
    if not 0 <= index < count:
        raise ConfigError(f"{what} has index {index}, but the gate knows 0 to {count - 1}.")


def spread(chosen: Selection, like: Float[Tensor, "*rows e"]) -> Float[Tensor, "*rows e"]:
    """The weight of every expert in each row's answer, 0 where not chosen; `like` has their columns."""
    none = torch.zeros(like.shape, dtype=chosen.weights.dtype, device=chosen.weights.device)
    return none.scatter(-1, chosen.experts, chosen.weights)


def shares(rule: SelectionRule, confidence: Float[Tensor, "*rows e"]) -> Float[Tensor, "*rows e"]:
    """The weight that each expert has in the answer to each row, as a rule chooses."""
    return spread(rule.select(confidence), confidence).to(confidence)
