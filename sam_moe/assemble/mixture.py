"""From a gate's card to a mixture: its backbone and experts found and checked, decoders left until chosen."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from sam_moe.assemble.backbone import as_backbone, check_file, find_entry, load_backbone, sizes_of
from sam_moe.assemble.experts import find_expert, load_decoder
from sam_moe.errors import CardError, WeightsError
from sam_moe.moe.bank import ExpertBank
from sam_moe.moe.gate import GatingNetwork
from sam_moe.moe.selection import Argmax, Dense, Forced, SelectionRule, Threshold, TopK
from sam_moe.registry import (
    CARD,
    BackboneCard,
    Base,
    Card,
    Entry,
    ExpertCard,
    ExpertRef,
    GateCard,
    most_restrictive,
    read_entry,
)
from sam_moe.sam3d.model import SamMed3D
from sam_moe.sam3d.weights import compare, fingerprint, load_model, read_state
from sam_moe.systems.sam_med3d_moe import Expert, SamMed3DMoE, WholeExpert

MOST = 4  # specialists held in memory beside the general expert


@dataclass(frozen=True)
class Parts:
    """What a gate chooses among: the cards, the experts in the order of its outputs after the general one."""

    gate: Entry[GateCard]
    base: Entry[BackboneCard]
    experts: tuple[Entry[ExpertCard], ...]

    @property
    def licence(self) -> str:
        """The terms of all parts together."""
        experts = (entry.card.licence for entry in self.experts)
        return most_restrictive([self.gate.card.licence, self.base.card.licence, *experts])

    @property
    def has_whole(self) -> bool:
        """Whether an expert has an encoder of its own."""
        return any(entry.card.expert_kind == "full" for entry in self.experts)


def find_parts(entry: Entry[GateCard], folder: Path | str | None = None) -> Parts:
    """Find a gate's backbone and experts, and see that they are the ones that its card names.

    Each is looked for beside the gate, in `folder`, then where `find_entry` and `find_expert` look; of
    several of one name the first with the checksum that the gate knows.

    Raises:
        CardError: for one that is missing, has other weights or grew on another base.
    """
    card = entry.card
    beside = [entry.folder.resolve().parent, *([Path(folder)] if folder is not None else [])]
    experts = tuple(_expert(ref, entry, beside) for ref in card.experts[1:])
    return Parts(entry, _base(card.base, beside), experts)


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
        CardError: for a part that is missing or another than the card names.
        WeightsError: for files that are not the cards', or weights that do not fit or are not finite.
    """
    parts = find_parts(entry, folder) if parts is None else parts
    card = entry.card
    backbone = load_backbone(parts.base)
    if (found := fingerprint(backbone)) != card.base.sha256:
        raise CardError(
            f"{entry.path}: base.sha256: is {card.base.sha256}, and {parts.base.path} has {found}: the gate "
            "was trained on other weights. Restore these, or train the gate again."
        )
    for expert in parts.experts:
        check_file(expert.folder / expert.card.weights.file, expert.card.weights, expert.path)
    by_id = {expert.card.id: expert for expert in parts.experts}

    def make(id: str) -> Expert:
        if by_id[id].card.expert_kind == "full":
            return WholeExpert(load_whole(by_id[id], backbone))
        return load_decoder(by_id[id], backbone)

    ids = [ref.id for ref in card.experts]
    bank: ExpertBank[Expert] = ExpertBank(ids, make, backbone.mask_decoder, most)
    gate = load_gate(entry, backbone)
    return SamMed3DMoE(backbone, bank, gate, selection_of(card), card.fusion, keep_images=parts.has_whole)


def load_gate(entry: Entry[GateCard], backbone: SamMed3D) -> GatingNetwork:
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
    check_file(path, card.weights, entry.path)
    state = {name: tensor.to(torch.float32) for name, tensor in read_state(path).items()}
    gate = GatingNetwork(sizes.features, sizes.columns, sizes.hidden, sizes.mode)
    report = compare(state, gate.state_dict())
    if not report.ok:
        raise WeightsError(f"{path}: does not fit the gate of {entry.path}: {report}")
    gate.load_state_dict(state)
    return gate.eval().requires_grad_(False)


def load_whole(entry: Entry[ExpertCard], base: SamMed3D) -> SamMed3D:
    """The frozen model of an expert with its own encoder.

    Raises:
        WeightsError: for a file that is not the card's, or a model that a base with corners cannot prompt.
    """
    assert entry.card.architecture is not None  # the card's own check
    path = entry.folder / entry.card.weights.file
    check_file(path, entry.card.weights, entry.path)
    model = load_model(path, sizes_of(entry.card.architecture))
    if base.prompt_encoder.knows_boxes and not model.prompt_encoder.knows_boxes:
        raise WeightsError(
            f"{path}: has no corner embeddings, and its base {entry.card.base.id} hears boxes by their "
            "corners. Finetune it from that base."
        )
    return model


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
    if entry.card.expert_kind == "full":
        return load_whole(entry, backbone)
    backbone.mask_decoder = load_decoder(entry, backbone)
    return backbone


def base_of(entry: Entry[ExpertCard], folder: Path | str | None = None) -> Entry[BackboneCard]:
    """The card of an expert's backbone: beside it, in `folder`, or where `find_entry` looks."""
    beside = [entry.folder.resolve().parent, *([Path(folder)] if folder is not None else [])]
    return _base(entry.card.base, beside)


def selection_of(card: GateCard) -> SelectionRule:
    """How a card says that experts are chosen."""
    match card.selection:
        case "threshold":
            assert card.threshold is not None  # here and below: the card's own checks
            return Threshold(card.threshold)
        case "top_k":
            assert card.k is not None
            return TopK(card.k)
        case "forced":
            return Forced([ref.id for ref in card.experts].index(card.forced or card.base.id))
        case "argmax":
            return Argmax()
        case "dense":
            return Dense()


def _near(id: str, folders: list[Path]) -> Iterator[Entry[Card]]:
    """The cards with this id in these folders; other cards in them are not read."""
    for folder in folders:
        if (folder / id / CARD).is_file():
            entry = read_entry(folder / id / CARD)
            if entry.card.id == id:
                yield entry


def _base(base: Base, beside: list[Path]) -> Entry[BackboneCard]:
    near = next(_near(base.id, beside), None)
    if near is None:
        return find_entry(base.id)
    found = as_backbone(near)
    try:
        usual = find_entry(base.id)
    except CardError:
        return found
    ours, theirs = found.card.weights, usual.card.weights
    if ours is None or theirs is None or ours.sha256 == theirs.sha256:
        return found
    # Two models of one name, say the one that ships and a training's run beside the gate's.
    return found if fingerprint(load_backbone(found)) == base.sha256 else usual


def _expert(ref: ExpertRef, gate: Entry[GateCard], beside: list[Path]) -> Entry[ExpertCard]:
    try:
        near = [find_expert(entry.path) for entry in _near(ref.id, beside)]
        same = [entry for entry in near if entry.card.weights.sha256 == ref.sha256]
        # Beside a run's gate may lie the run that the expert was added from, converted since.
        entry = same[0] if same else find_expert(ref.id)
    except CardError as error:
        raise CardError(f"{gate.path}: experts: {ref.id}: {error}") from error
    card = entry.card
    if card.weights.sha256 != ref.sha256:
        raise CardError(
            f"{gate.path}: experts: {ref.id} has the SHA-256 {ref.sha256}, and {entry.path} says "
            f"{card.weights.sha256}: the gate knows another expert of that name. Restore it, or train the "
            "gate again."
        )
    if card.base.sha256 != gate.card.base.sha256:
        raise CardError(
            f"{gate.path}: base.sha256: is {gate.card.base.sha256}, and {entry.path} grew on "
            f"{card.base.id} with {card.base.sha256}. A mixture has one backbone."
        )
    return entry
