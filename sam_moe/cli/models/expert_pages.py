"""Experts as lists and pages: those that are here or offered by packages, and all of one's card."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sam_moe.cli.models.card_text import columns, credits, facts, in_words, measured, wrapped
from sam_moe.errors import CardError
from sam_moe.registry import Entry, ExpertCard, Plugin, most_restrictive
from sam_moe.registry.finding import find_backbone


def table(found: Sequence[Entry[ExpertCard]], offered: Sequence[Plugin] = ()) -> str:
    """One line an expert, the licence of all with their bases, and what packages offer and is not loaded."""
    rows = [("ID", "KIND", "BASE", "SIZE", "LICENCE", "COVERS")]
    for card in (entry.card for entry in found):
        size = f"{card.weights.size_bytes / 1e6:.1f} MB"
        rows.append((card.id, card.expert_kind, card.base.id, size, card.licence, _covers(card)))
    lines = [columns(rows)]
    if found:
        lines += ["", f"one mixture of all of them: {mixture(found)}"]
    for plugin in offered:
        lines.append(
            f"{plugin.name}: offered by the package {plugin.package}, loaded when an id of it is asked"
        )
    return "\n".join(lines)


def as_json(found: Sequence[Entry[ExpertCard]], offered: Sequence[Plugin] = ()) -> dict[str, Any]:
    """The list for machines."""
    return {
        "experts": [
            {
                "id": entry.card.id,
                "kind": entry.card.expert_kind,
                "base": entry.card.base.id,
                "licence": entry.card.licence,
                "size_bytes": entry.card.weights.size_bytes,
                "covers": [cover.model_dump() for cover in entry.card.covers],
                "card": str(entry.path),
            }
            for entry in found
        ],
        "mixture_licence": mixture(found) if found else None,
        "offered": [{"name": plugin.name, "package": plugin.package} for plugin in offered],
    }


def page(entry: Entry[ExpertCard]) -> str:
    """A card as a person reads it."""
    card = entry.card
    known = {
        "kind": card.expert_kind,
        "base": f"{card.base.id}, fingerprint {card.base.sha256}",
        "covers": _covers(card),
        "ranks": in_words(card.lora.model_dump()) if card.lora else None,
        "architecture": in_words(asdict(card.architecture)) if card.architecture else None,
        "weights": f"{card.weights.size_bytes / 1e6:.1f} MB, {card.weights.dtype}",
        "sha256": card.weights.sha256,
        "licence": card.licence,
        "with its base": mixture([entry]),
        "made by": card.made_by.command if card.made_by else None,
        "data": ", ".join(card.made_by.data) if card.made_by and card.made_by.data else None,
        "not for": card.not_for,
        "card": str(entry.path),
    }
    lines = [f"{card.id}: {card.title}", *wrapped(card.description), "", *facts(known)]
    return "\n".join([*lines, "", *credits(card.attribution), *measured(card.measured)]).rstrip()


def mixture(found: Sequence[Entry[ExpertCard]]) -> str:
    """The licence of these experts together with the backbones they work on."""
    licences, absent = [entry.card.licence for entry in found], []
    for base in sorted({entry.card.base.id for entry in found}):
        try:
            licences.append(find_backbone(base).card.licence)
        except CardError:
            absent.append(base)
    known = most_restrictive(licences)
    return f"{known}, and that of {', '.join(absent)}, which is not here" if absent else known


def _covers(card: ExpertCard) -> str:
    structures: dict[str, list[str]] = {}
    for cover in card.covers:
        structures.setdefault(cover.structure, []).append(cover.modality)
    return ", ".join(f"{structure} ({', '.join(kinds)})" for structure, kinds in structures.items())
