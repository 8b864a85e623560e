"""A backbone and its experts, loaded together: what a gate is trained over."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sam_moe.errors import CardError
from sam_moe.hosts.sam3d.lowering import BoxStrategy
from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.network.mask_decoder import MaskDecoder
from sam_moe.registry import Base, Entry, ExpertCard, ExpertRef, Preprocessing
from sam_moe.registry.finding import find_backbone, find_expert
from sam_moe.systems.sam_med3d_moe.cards.backbone import load_backbone
from sam_moe.systems.sam_med3d_moe.cards.experts import load_decoder
from sam_moe.systems.sam_med3d_moe.experts import kind_of
from sam_moe.weights.checksums import fingerprint


@dataclass(frozen=True)
class Decoders:
    """A backbone and what answers in its regions: the decoders in the order of a gate's columns.

    The first is the backbone's own; boxes are lowered by `box_strategy`, as prediction lowers them.
    """

    model: SamMed3D
    each: Sequence[MaskDecoder]
    box_strategy: BoxStrategy


@dataclass(frozen=True)
class Members:
    """A backbone and its experts, loaded: what a gate is trained over."""

    base: Base
    preprocessing: Preprocessing
    experts: tuple[Entry[ExpertCard], ...]
    decoders: Decoders

    @property
    def refs(self) -> tuple[ExpertRef, ...]:
        """The columns of a gate over them, the general one first."""
        general = ExpertRef(id=self.base.id, sha256=self.base.sha256)
        others = (ExpertRef(id=e.card.id, sha256=e.card.weights.sha256) for e in self.experts)
        return (general, *others)


def load_members(base: str | Path, experts: Sequence[str | Path]) -> Members:
    """Load a backbone and experts that grew on it, in this order.

    Raises:
        CardError: for experts of another backbone, of kind 'full', or named twice.
    """
    entry = find_backbone(base)
    model = load_backbone(entry).eval().requires_grad_(False)
    own = Base(id=entry.card.id, sha256=fingerprint(model))
    found = tuple(find_expert(expert) for expert in experts)
    ids = [expert.card.id for expert in found]
    if twice := sorted({id for id in ids if ids.count(id) > 1}):
        raise CardError(f"{', '.join(twice)}: named more than once. A gate has one column an expert.")
    for expert in found:
        if expert.card.base.sha256 != own.sha256:
            raise CardError(
                f"{expert.path}: base.sha256: is {expert.card.base.sha256}, and {own.id} has {own.sha256}. "
                "A gate chooses among experts of one backbone; name the one that they grew on."
            )
        if kind_of(expert.card).own_encoder:
            raise CardError(
                f"{expert.path}: expert_kind: {expert.card.expert_kind!r} has an encoder of its own, and a "
                "gate is trained over decoders and deltas. Finetune the decoder alone, or leave the expert "
                "out."
            )
    each = (model.mask_decoder, *(load_decoder(expert, model) for expert in found))
    card = entry.card
    return Members(own, card.preprocessing, found, Decoders(model, each, card.default_box_strategy))
