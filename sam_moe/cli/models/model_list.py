"""The models and mixtures that are here: their cards, and whether their weights are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sam_moe.assemble.parts import find_parts
from sam_moe.cli.models.card_text import columns
from sam_moe.errors import CardError, WeightsError
from sam_moe.registry import (
    CARD,
    AutomaticCard,
    BackboneCard,
    Entry,
    ExpertCard,
    GateCard,
    Registry,
    Weights,
    default_folder,
)
from sam_moe.registry.finding import card_folders, find_backbone, find_card, user_folder

ModelCard = BackboneCard | GateCard | AutomaticCard
State = Literal["shipped", "your own", "converted", "fetched", "not yet fetched", "weights missing"]


@dataclass(frozen=True)
class Checkpoint:
    """A card, with the weights it has here."""

    entry: Entry[ModelCard]
    state: State
    weights: Weights | None
    weights_entry: Entry[ModelCard]

    @property
    def complete(self) -> bool:
        """Whether its weights lie here with the size and the SHA-256 that the card says; reads them whole."""
        from sam_moe.files import sha256_of

        path = self.weights_entry.weights_path
        if self.weights is None or path is None or not path.is_file():
            return False
        return path.stat().st_size == self.weights.size_bytes and sha256_of(path) == self.weights.sha256

    @property
    def size(self) -> str:
        """The size of the file of weights, where there is one."""
        return f"{self.weights.size_bytes / 1e6:.1f} MB" if self.weights else "-"

    @property
    def verb(self) -> str:
        """The verb of `sam-moe` that it answers: with prompts or without."""
        return "segment" if isinstance(self.entry.card, AutomaticCard) else "predict"

    @property
    def licence(self) -> str:
        """The terms of the weights; of a gate's those of the whole mixture, where all parts are here."""
        card = self.entry.card
        if not isinstance(card, GateCard):
            return card.licence
        try:
            return find_parts(Entry(card, self.entry.path)).licence
        except (CardError, WeightsError):
            return f"{card.licence}, and that of parts that are not here"

    def as_json(self) -> dict[str, Any]:
        """The line of the list, for machines."""
        card = self.entry.card
        return {
            "id": card.id,
            "title": card.title,
            "kind": card.kind,
            "verb": self.verb,
            "licence": self.licence,
            "state": self.state,
            "size_bytes": self.weights.size_bytes if self.weights else None,
            "card": str(self.entry.path),
        }


def listed() -> list[Checkpoint]:
    """The models that ship, then the user's own; as in `sam_moe.load`, a shipped id hides the user's."""
    found: dict[str, Checkpoint] = {}
    for folder in card_folders():
        registry = Registry(folder)
        entries: tuple[Entry[ModelCard], ...] = (
            *registry.backbones(),
            *registry.gates(),
            *registry.automatics(),
        )
        for entry in entries:
            found.setdefault(entry.card.id, _checkpoint(entry, shipped=folder == default_folder()))
    return list(found.values())


def listed_gates() -> list[Checkpoint]:
    """The gates among them."""
    return [item for item in listed() if isinstance(item.entry.card, GateCard)]


def find(id: str) -> Checkpoint:
    """One model or mixture, by id, card or folder.

    Raises:
        CardError: listing the known ids, the nearest first; for an expert, saying where it is shown.
    """
    entry = find_card(id)
    shipped = entry.folder.parent.resolve() == default_folder().resolve()
    card = entry.card
    if not isinstance(card, ExpertCard):
        return _checkpoint(Entry(card, entry.path), shipped)
    raise CardError(
        f"{card.id!r} is an expert, no model; it works on {card.base.id!r}. See: sam-moe experts show {id}"
    )


def table(found: Sequence[Checkpoint]) -> str:
    """One line a model, in columns."""
    rows = [("ID", "WEIGHTS", "SIZE", "LICENCE", "VERB", "TITLE")]
    rows += [(c.entry.card.id, c.state, c.size, c.licence, c.verb, c.entry.card.title) for c in found]
    return columns(rows)


def _checkpoint(entry: Entry[ModelCard], shipped: bool) -> Checkpoint:
    if entry.card.weights is not None:
        here = entry.weights_path is not None and entry.weights_path.is_file()
        own: State = "converted" if isinstance(entry.card, BackboneCard) else "your own"
        state: State = "weights missing" if not here else "shipped" if shipped else own
        return Checkpoint(entry, state, entry.card.weights, entry)
    kept = user_folder() / entry.card.id / CARD
    if kept.is_file():
        converted = find_backbone(kept)
        return Checkpoint(entry, "fetched", converted.card.weights, converted)
    return Checkpoint(entry, "not yet fetched", None, entry)
