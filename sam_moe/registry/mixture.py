"""A gate's backbone and experts, found and checked by their cards; without torch."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sam_moe.errors import CardError
from sam_moe.registry.backbone import BackboneCard
from sam_moe.registry.expert import Base, ExpertCard
from sam_moe.registry.finding import as_backbone, find_backbone, find_expert
from sam_moe.registry.folder import Entry, read_entry
from sam_moe.registry.gate import ExpertRef, GateCard
from sam_moe.registry.licences import most_restrictive
from sam_moe.registry.parts import CARD
from sam_moe.registry.reading import Card

# `sam_moe.weights.checksums.fingerprint_of`, handed in because it needs torch.
Fingerprint = Callable[[Path], str]


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


def find_parts(entry: Entry[GateCard], fingerprint: Fingerprint, folder: Path | str | None = None) -> Parts:
    """Find a gate's backbone and experts, and see that they are the ones that its card names.

    Each is looked for beside the gate, in `folder`, then where `find_backbone` and `find_expert` look; of
    several of one name the first with the checksum that the gate knows. `fingerprint` is asked for a
    backbone's file only where two of one name differ.

    Raises:
        CardError: for one that is missing, has other weights or grew on another base.
    """
    card = entry.card
    beside = [entry.folder.resolve().parent, *([Path(folder)] if folder is not None else [])]
    experts = tuple(_expert(ref, entry, beside) for ref in card.experts[1:])
    return Parts(entry, _base(card.base, fingerprint, beside), experts)


def base_of(
    entry: Entry[ExpertCard], fingerprint: Fingerprint, folder: Path | str | None = None
) -> Entry[BackboneCard]:
    """The card of an expert's backbone: beside it, in `folder`, or where `find_backbone` looks."""
    beside = [entry.folder.resolve().parent, *([Path(folder)] if folder is not None else [])]
    return _base(entry.card.base, fingerprint, beside)


def _near(id: str, folders: list[Path]) -> Iterator[Entry[Card]]:
    """The cards with this id in these folders; other cards in them are not read."""
    for folder in folders:
        if (folder / id / CARD).is_file():
            entry = read_entry(folder / id / CARD)
            if entry.card.id == id:
                yield entry


def _base(base: Base, fingerprint: Fingerprint, beside: list[Path]) -> Entry[BackboneCard]:
    near = next(_near(base.id, beside), None)
    if near is None:
        return find_backbone(base.id)
    found = as_backbone(near)
    try:
        usual = find_backbone(base.id)
    except CardError:
        return found
    ours, theirs = found.card.weights, usual.card.weights
    if ours is None or theirs is None or ours.sha256 == theirs.sha256:
        return found
    # Two models of one name, say the one that ships and a training's run beside the gate's.
    return found if fingerprint(found.folder / ours.file) == base.sha256 else usual


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
