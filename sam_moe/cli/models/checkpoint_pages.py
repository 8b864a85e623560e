"""What `sam-moe checkpoints` shows: every card found, where it lies, and whether its weights are here."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from sam_moe.errors import CardError, WeightsError
from sam_moe.registry import (
    CARD,
    Attribution,
    BackboneCard,
    Entry,
    GateCard,
    Measurement,
    Registry,
    Weights,
    default_folder,
)
from sam_moe.registry.finding import find_card, find_entry, user_folder

_WIDTH = 100

State = Literal["shipped", "your own", "converted", "fetched", "not yet fetched", "weights missing"]


@dataclass(frozen=True)
class Checkpoint:
    """A card, with the weights it has here."""

    entry: Entry[BackboneCard | GateCard]
    state: State
    weights: Weights | None
    weights_entry: Entry[BackboneCard | GateCard]

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
    def licence(self) -> str:
        """The terms of the weights; of a gate's those of the whole mixture, where all parts are here."""
        card = self.entry.card
        if isinstance(card, BackboneCard):
            return card.licence
        from sam_moe.systems.sam_med3d_moe.cards.parts import find_parts

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
            "licence": self.licence,
            "state": self.state,
            "size_bytes": self.weights.size_bytes if self.weights else None,
            "card": str(self.entry.path),
        }


def listed() -> list[Checkpoint]:
    """The models that ship, then the user's own; as in `sam_moe.load`, a shipped id hides the user's."""
    folders = [default_folder()] + ([user_folder()] if user_folder().is_dir() else [])
    found: dict[str, Checkpoint] = {}
    for folder in folders:
        registry = Registry(folder)
        entries: tuple[Entry[BackboneCard | GateCard], ...] = (*registry.backbones(), *registry.gates())
        for entry in entries:
            found.setdefault(entry.card.id, _checkpoint(entry, shipped=folder == folders[0]))
    return list(found.values())


def find(id: str) -> Checkpoint:
    """One model or mixture, by id, card or folder.

    Raises:
        CardError: listing the known ids, the nearest first; for an expert, saying where it is shown.
    """
    entry = find_card(id)
    shipped = entry.folder.parent.resolve() == default_folder().resolve()
    if isinstance(entry.card, BackboneCard | GateCard):
        return _checkpoint(Entry(entry.card, entry.path), shipped)
    card = entry.card
    raise CardError(
        f"{card.id!r} is an expert, no model; it works on {card.base.id!r}. See: sam-moe experts show {id}"
    )


def table(found: Sequence[Checkpoint]) -> str:
    """One line a model, in columns."""
    rows = [("ID", "WEIGHTS", "SIZE", "LICENCE", "TITLE")]
    rows += [(c.entry.card.id, c.state, c.size, c.licence, c.entry.card.title) for c in found]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
        for row in rows
    )


def page(item: Checkpoint) -> str:
    """A card as a person reads it."""
    card = item.entry.card
    if isinstance(card, GateCard):
        from sam_moe.cli.models.gate_pages import page as page_of_gate

        return page_of_gate(card, item)
    lines = [f"{card.id}: {card.title}", *wrapped(card.description), ""]
    told = {
        "weights": f"{item.state}, {item.size}, {item.weights.dtype}" if item.weights else item.state,
        "sha256": item.weights.sha256 if item.weights else None,
        "public file": f"{card.hub.repo_id}/{card.hub.filename}" if card.hub else None,
        "architecture": in_words(asdict(card.architecture)),
        "preprocessing": in_words(card.preprocessing.model_dump()),
        "boxes by": card.default_box_strategy,
        "licence": card.licence,
        "made by": card.made_by.command if card.made_by else None,
        "not for": card.not_for,
        "card": str(item.entry.path),
    }
    lines += [*facts(told), "", *credits(card.attribution), *measured(card.measured)]
    return "\n".join(lines).rstrip()


def facts(told: Mapping[str, str | None]) -> list[str]:
    """Names in one column, what is known of them in another."""
    return [
        line for name, value in told.items() if value is not None for line in wrapped(value, f"{name:<15}")
    ]


def wrapped(text: str, before: str = "") -> list[str]:
    """A text in lines of one width, set in by what stands before it."""
    indent = " " * len(before)
    return textwrap.wrap(
        text, _WIDTH, initial_indent=before, subsequent_indent=indent, break_long_words=False
    )


def credits(attribution: Sequence[Attribution]) -> list[str]:
    """Whom a card credits."""
    texts = (f"{credit.source} ({credit.licence}). {credit.note}" for credit in attribution)
    return [line for text in texts for line in wrapped(text, f"{'after':<15}")]


def measured(rows: Sequence[Measurement]) -> list[str]:
    """What a card says was measured."""
    lines = []
    for row in rows:
        cases = f", {row.cases} cases" if row.cases else ""
        protocol = f" ({row.protocol})" if row.protocol else ""
        text = f"{row.metric} {row.value:.4g} on {row.data}{cases}{protocol}"
        lines += wrapped(text, f"{'measured':<15}")
    return lines


def in_words(values: dict[str, Any]) -> str:
    """Fields in one line."""
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _checkpoint(entry: Entry[BackboneCard | GateCard], shipped: bool) -> Checkpoint:
    if entry.card.weights is not None:
        here = entry.weights_path is not None and entry.weights_path.is_file()
        own: State = "converted" if isinstance(entry.card, BackboneCard) else "your own"
        state: State = "weights missing" if not here else "shipped" if shipped else own
        return Checkpoint(entry, state, entry.card.weights, entry)
    kept = user_folder() / entry.card.id / CARD
    if kept.is_file():
        converted = find_entry(kept)
        return Checkpoint(entry, "fetched", converted.card.weights, converted)
    return Checkpoint(entry, "not yet fetched", None, entry)
