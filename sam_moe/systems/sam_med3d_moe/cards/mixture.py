"""From a gate's card to a mixture: its backbone and gate loaded, decoders left until chosen."""

from pathlib import Path

import torch

from sam_moe.errors import CardError, ConfigError, WeightsError
from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.moe.bank import ExpertBank
from sam_moe.moe.gate import Gate
from sam_moe.moe.rule_settings import make_rule
from sam_moe.moe.selection import NamedRule
from sam_moe.registry import (
    BackboneCard,
    Entry,
    ExpertCard,
    GateCard,
    check_weights,
)
from sam_moe.registry.mixture import Parts, find_parts
from sam_moe.systems.sam_med3d_moe.cards.backbone import load_backbone
from sam_moe.systems.sam_med3d_moe.cards.experts import load_expert
from sam_moe.systems.sam_med3d_moe.experts import kind_of
from sam_moe.systems.sam_med3d_moe.gate import gate_of
from sam_moe.systems.sam_med3d_moe.model import Expert, SamMed3DMoE, WholeExpert
from sam_moe.weights.checksums import fingerprint, fingerprint_of
from sam_moe.weights.files import read_state
from sam_moe.weights.report import compare

MOST = 4  # specialists held in memory beside the general expert


def load_mixture(
    entry: Entry[GateCard], folder: Path | str | None = None, most: int = MOST, parts: Parts | None = None
) -> SamMed3DMoE:
    """Load a gate with its backbone and experts; decoders are made when first chosen, at most `most` held.

    Args:
        entry: the gate's card.
        folder: where else to look for its parts, beside the gate's own folder and the usual ones.
        most: specialists in memory at a time; the one longest unused is let go.
        parts: what `find_parts` found, where the caller has it.

    Raises:
        CardError: for a part that is missing or another than the card names, or settings that the card's rule
            refuses.
        WeightsError: for files that are not the cards', or weights that do not fit or are not finite.
    """
    parts = find_parts(entry, fingerprint_of, folder) if parts is None else parts
    card = entry.card
    try:
        rule = selection_of(card)  # before weights are read
    except ConfigError as error:
        raise CardError(f"{entry.path}: {error}") from error
    backbone = load_backbone(parts.base)
    if (found := fingerprint(backbone)) != card.base.sha256:
        raise CardError(
            f"{entry.path}: base.sha256: is {card.base.sha256}, and {parts.base.path} has {found}: the gate "
            "was trained on other weights. Restore these, or train the gate again."
        )
    for expert in parts.experts:
        check_weights(expert.folder / expert.card.weights.file, expert.card.weights, expert.path)
    by_id = {expert.card.id: expert for expert in parts.experts}

    def make(id: str) -> Expert:
        made = load_expert(by_id[id], backbone)
        return WholeExpert(made) if isinstance(made, SamMed3D) else made

    ids = [ref.id for ref in card.experts]
    bank: ExpertBank[Expert] = ExpertBank(ids, make, backbone.mask_decoder, most)
    gate = load_gate(entry, backbone)
    whole = any(kind_of(expert.card).own_encoder for expert in parts.experts)
    return SamMed3DMoE(backbone, bank, gate, rule, card.fusion, keep_images=whole)


def load_gate(entry: Entry[GateCard], backbone: SamMed3D) -> Gate:
    """The frozen gating network of a card.

    Raises:
        CardError: for a gate made for embeddings of another width.
        WeightsError: for a file that is not the card's, does not fit its sizes or is not finite.
    """
    card, sizes = entry.card, entry.card.architecture
    if sizes.features != backbone.sizes.out_channels:
        raise CardError(
            f"{entry.path}: architecture.features: is {sizes.features}, and {card.base.id} embeds in "
            f"{backbone.sizes.out_channels} channels. Give the sizes that the gate was trained with."
        )
    path = entry.folder / card.weights.file
    check_weights(path, card.weights, entry.path)
    state = {name: tensor.to(torch.float32) for name, tensor in read_state(path).items()}
    gate = gate_of(sizes)
    report = compare(state, gate.state_dict())
    if not report.ok:
        raise WeightsError(f"{path}: does not fit the gate of {entry.path}: {report}")
    gate.load_state_dict(state)
    return gate.eval().requires_grad_(False)


def load_alone(entry: Entry[ExpertCard], base: Entry[BackboneCard]) -> SamMed3D:
    """One expert as a plain model: its decoder on its backbone, or all of it where it has its own encoder.

    It answers to the bit what a mixture answers in which this expert is forced.

    Raises:
        CardError: for another backbone than the one it grew on.
    """
    backbone = load_backbone(base)
    if (found := fingerprint(backbone)) != entry.card.base.sha256:
        raise CardError(
            f"{entry.path}: base.sha256: is {entry.card.base.sha256}, and {base.path} has {found}: the "
            "expert grew on other weights and would answer nonsense on these."
        )
    expert = load_expert(entry, backbone)
    if isinstance(expert, SamMed3D):
        return expert
    backbone.mask_decoder = expert
    return backbone


def selection_of(card: GateCard) -> NamedRule:
    """The rule that a card names, with its settings.

    Raises:
        ConfigError: for a rule that is not installed any more, or settings that it does not take.
    """
    return make_rule(card.selection, card.rule_settings, [ref.id for ref in card.experts])
