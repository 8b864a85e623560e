"""Which experts answer a prompt, and with which weights: strategies over the gate's confidences."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from sam_moe.errors import ConfigError
from sam_moe.shapes import Bool, Float, Int


class Selection(NamedTuple):
    """The experts that answer each prompt; `fell_back` where the general one did for want of a sure one."""

    experts: Int[Tensor, "b k"]
    weights: Float[Tensor, "b k"]
    fell_back: Bool[Tensor, " b"]


@runtime_checkable
class SelectionRule(Protocol):
    """What a strategy does; those below are frozen records, any other class with these methods will do."""

    def select(self, confidence: Float[Tensor, "b e"]) -> Selection:
        """Choose from each prompt's confidences; weights sum to 1."""

    def explain(self, confidence: Float[Tensor, "b e"], chosen: Selection) -> tuple[str, ...]:
        """Say in a few words, for each prompt, why these answer."""


def confidence_of(logits: Float[Tensor, "b e"]) -> Float[Tensor, "b e"]:
    """The softmax over all columns, the general expert's included.

    Ours: the paper names no normalisation. One more column keeps all logits, but lowers these.
    """
    return logits.softmax(dim=-1)


@dataclass(frozen=True)
class Threshold:
    """The surest specialist where its confidence reaches `tau`, else the general expert (the paper's idea).

    The general expert's own confidence counts only through the softmax. What is not a number reaches nothing.
    """

    tau: float = 0.5
    general: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.tau <= 1:
            raise ConfigError(f"threshold {self.tau} is no confidence. Expected 0 to 1.")

    def select(self, confidence: Float[Tensor, "b e"]) -> Selection:
        """One expert a prompt."""
        _check_index(self.general, confidence, "the general expert")
        best, index = self._best(confidence)
        sure = best >= self.tau
        return _one(index.where(sure, self.general), ~sure)

    def explain(self, confidence: Float[Tensor, "b e"], chosen: Selection) -> tuple[str, ...]:
        """The comparison made."""
        if confidence.shape[-1] == 1:
            return ("fell back: no other expert",) * len(confidence)
        best, _ = self._best(confidence)
        pairs = zip(best.tolist(), chosen.fell_back.tolist(), strict=True)
        return tuple(
            f"fell back: best {b:.3g} < {self.tau:g}" if fell else f"threshold {b:.3g} >= {self.tau:g}"
            for b, fell in pairs
        )

    def _best(self, confidence: Tensor) -> tuple[Tensor, Tensor]:
        specialists = confidence.detach().nan_to_num(nan=-1.0)
        specialists[:, self.general] = -1
        best, index = specialists.max(dim=-1)
        return best, index


@dataclass(frozen=True)
class TopK:
    """The `k` surest, the general one like any other, weighted by confidence; all, where there are fewer."""

    k: int = 2

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ConfigError(f"k = {self.k} experts answer nothing. Expected 1 or more.")

    def select(self, confidence: Float[Tensor, "b e"]) -> Selection:
        """The surest first; weights renormalised to sum to 1, and carrying gradients."""
        top, experts = confidence.topk(min(self.k, confidence.shape[-1]), dim=-1)
        return Selection(experts, top / top.sum(dim=-1, keepdim=True), _never(confidence))

    def explain(self, confidence: Float[Tensor, "b e"], chosen: Selection) -> tuple[str, ...]:
        """How many of how many."""
        return (f"the {chosen.experts.shape[1]} surest of {confidence.shape[1]}",) * len(confidence)


@dataclass(frozen=True)
class Argmax:
    """The surest expert, be it the general one."""

    def select(self, confidence: Float[Tensor, "b e"]) -> Selection:
        """One expert a prompt."""
        return _one(confidence.argmax(dim=-1), _never(confidence))

    def explain(self, confidence: Float[Tensor, "b e"], chosen: Selection) -> tuple[str, ...]:
        """The confidence it had."""
        return tuple(f"surest: {best:.3g}" for best in confidence.amax(dim=-1).tolist())


@dataclass(frozen=True)
class Forced:
    """One expert whatever the gate says: for hard routing by the true task, and for asking one by name."""

    index: int = 0

    def select(self, confidence: Float[Tensor, "b e"]) -> Selection:
        """Always this expert."""
        _check_index(self.index, confidence, "the forced expert")
        never = _never(confidence)
        return _one(torch.full_like(never, self.index, dtype=torch.long), never)

    def explain(self, confidence: Float[Tensor, "b e"], chosen: Selection) -> tuple[str, ...]:
        """That it was asked for."""
        return ("asked for",) * len(confidence)


@dataclass(frozen=True)
class Dense:
    """Every expert, weighted by its confidence; every decoder runs, so cost grows with their number."""

    def select(self, confidence: Float[Tensor, "b e"]) -> Selection:
        """All, in the gate's order."""
        batch, experts = confidence.shape
        every = torch.arange(experts, device=confidence.device).expand(batch, -1)
        return Selection(every, confidence, _never(confidence))

    def explain(self, confidence: Float[Tensor, "b e"], chosen: Selection) -> tuple[str, ...]:
        """That all answer."""
        return (f"all {confidence.shape[1]} by confidence",) * len(confidence)


def _one(index: Int[Tensor, " b"], fell_back: Bool[Tensor, " b"]) -> Selection:
    return Selection(index[:, None], torch.ones(len(index), 1, device=index.device), fell_back)


def _never(confidence: Tensor) -> Bool[Tensor, " b"]:
    return torch.zeros(len(confidence), dtype=torch.bool, device=confidence.device)


def _check_index(index: int, confidence: Tensor, what: str) -> None:
    count = confidence.shape[-1]
    if not 0 <= index < count:
        raise ConfigError(f"{what} has index {index}, but the gate knows 0 to {count - 1}.")
