"""What a file of someone's weights is to a backbone: an expert of the kind that card or tensors name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.registry import ExpertCard
from sam_moe.systems.sam_med3d_moe.experts import asked, load_kind


@dataclass(frozen=True)
class Taken:
    """The tensors that make an expert, which kind it is, and what they show of its card."""

    kind: str
    state: dict[str, Tensor]
    shown: dict[str, Any] = field(default_factory=dict)

    def known(self) -> dict[str, Any]:
        """What the weights show of the card."""
        return {"expert_kind": self.kind, **self.shown}


def take(
    state: Mapping[str, Tensor],
    base: SamMed3D,
    where: str,
    card: ExpertCard | None = None,
    named: str | None = None,
) -> Taken:
    """Take an expert out of a checkpoint: of its card's kind, or of the one that its tensors show.

    `named` is the kind that a card names which is not finished. Where tensors do not show a kind that they
    could show, another is read off them, so that the caller can compare.

    Raises:
        CardError: for settings in the card that are not the kind's.
        WeightsError: with the report of what is missing or too much, or for regions of another size.
    """
    name, settings = named if card is None else card.expert_kind, None
    if name is None or (load_kind(name).shows and not load_kind(name).recognises(state, base)):
        name = next(one for one in asked() if load_kind(one).recognises(state, base))
    elif card is not None:
        settings = load_kind(name).settings(card, where)
    kind = load_kind(name)
    taken = kind.take(state, base, settings, where)
    return Taken(name, taken, kind.known(taken, base, where))
