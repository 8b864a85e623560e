"""Cards from files and into files; which of the three a card is, its `kind` says."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sam_moe.config import check_json, read_object, write_json
from sam_moe.errors import CardError
from sam_moe.registry.backbone import BackboneCard
from sam_moe.registry.expert import ExpertCard
from sam_moe.registry.gate import GateCard
from sam_moe.registry.parts import FORMAT

Card = BackboneCard | ExpertCard | GateCard

_KINDS: dict[str, type[BackboneCard] | type[ExpertCard] | type[GateCard]] = {
    "backbone": BackboneCard,
    "expert": ExpertCard,
    "gate": GateCard,
}


def read_card(path: Path | str) -> Card:
    """Read and check one card.

    Raises:
        CardError: naming file, field and remedy.
    """
    data = _read(path)
    kind = data.get("kind", "backbone")
    known = _KINDS.get(kind) if isinstance(kind, str) else None
    if known is None:
        raise CardError(f"{path}: kind: {kind!r} is none of {', '.join(map(repr, _KINDS))}; correct it.")
    return check_json(known, data, path, CardError)


def read_draft(path: Path | str, known: Mapping[str, Any]) -> ExpertCard:
    """Read an expert's card of which some fields may be missing: those that are known by now.

    Args:
        path: a card as a person writes it: without checksums.
        known: nested fields to take where the file does not have them; what the file says goes first.

    Raises:
        CardError: naming file, field and remedy.
    """
    data = _read(path)
    if data.get("kind", "expert") != "expert":
        raise CardError(f"{path}: kind: is {data['kind']!r}; give the card of an expert.")
    return check_json(ExpertCard, _filled(data, known), path, CardError)


def write_card(card: Card, path: Path | str) -> None:
    """Write a card in one step; `read_card` gives it back equal."""
    write_json(card, path)


def _read(path: Path | str) -> dict[str, Any]:
    """A card's fields, unchecked but for the format, which decides how all others are read."""
    data = read_object(path, CardError)
    found = data.get("format", FORMAT)
    if isinstance(found, int) and found > FORMAT:
        raise CardError(
            f"{path}: format: {found} is newer than {FORMAT}, the newest known here; update sam-moe."
        )
    return data


def _filled(data: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    filled = dict(data)
    for key, value in known.items():
        if key not in filled:
            filled[key] = value
        elif isinstance(value, Mapping) and isinstance(filled[key], Mapping):
            filled[key] = _filled(filled[key], value)
    return filled
