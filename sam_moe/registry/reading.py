"""Cards from files and into files; which kind a card is, its `kind` says."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sam_moe.config import check_json, read_object, write_json
from sam_moe.errors import CardError
from sam_moe.registry.automatic import AutomaticCard
from sam_moe.registry.backbone import BackboneCard
from sam_moe.registry.expert import ExpertCard
from sam_moe.registry.gate import GateCard
from sam_moe.registry.parts import FORMAT

# Cards of models that answer prompts, and of all models.
PromptableCard = BackboneCard | ExpertCard | GateCard
Card = PromptableCard | AutomaticCard

_KINDS: dict[str, type[Card]] = {
    "backbone": BackboneCard,
    "expert": ExpertCard,
    "gate": GateCard,
    "automatic": AutomaticCard,
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


@dataclass(frozen=True)
class Draft:
    """An expert's card as a person writes it: checksums and whatever the weights show may be missing."""

    path: Path
    fields: Mapping[str, Any]

    @property
    def base_id(self) -> str:
        """The id of the backbone it names.

        Raises:
            CardError: where it names none.
        """
        base = self.fields.get("base")
        named = base.get("id") if isinstance(base, Mapping) else None
        if not isinstance(named, str):
            raise CardError(
                f"{self.path}: base.id: missing; add the id of the backbone that the expert grew on."
            )
        return named

    @property
    def base_sha256(self) -> str | None:
        """The fingerprint of that backbone, if the draft knows it."""
        base = self.fields.get("base")
        found = base.get("sha256") if isinstance(base, Mapping) else None
        return found if isinstance(found, str) else None

    def finished(self, known: Mapping[str, Any]) -> ExpertCard:
        """The card with what is known by now; what the draft says itself goes first.

        Raises:
            CardError: naming file, field and remedy.
        """
        return check_json(ExpertCard, _filled(self.fields, known), self.path, CardError)


def read_draft(path: Path | str) -> Draft:
    """Read an expert's card that is not finished.

    Raises:
        CardError: for a file that is no card of an expert, or of a newer format.
    """
    data = _read(path)
    if data.get("kind", "expert") != "expert":
        raise CardError(f"{path}: kind: is {data['kind']!r}; give the card of an expert.")
    return Draft(Path(path), data)


def weights_named_in(path: Path) -> str | None:
    """The file that a card names as its weights; None without a card that can be read, or that has any."""
    try:
        weights = read_card(path).weights
    except CardError:
        return None
    return None if weights is None else weights.file


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
