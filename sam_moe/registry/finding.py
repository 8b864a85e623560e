"""Cards are found by id or path, among those that ship, the user's own and other packages'; without torch."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sam_moe.config import nearest_first
from sam_moe.errors import CardError
from sam_moe.registry import (
    CARD,
    AutomaticCard,
    BackboneCard,
    Card,
    Entry,
    ExpertCard,
    GateCard,
    PromptableCard,
    Registry,
    default_folder,
    read_entry,
)
from sam_moe.registry.plugins import offered

DEFAULT_MODEL, DEFAULT_AUTOMATIC, DEFAULT_THEN = "small", "auto-small", "small-moe"
CACHE_VARIABLE = "SAM_MOE_CACHE"
_NO_HOME = Path(os.devnull) / f"no home folder, set {CACHE_VARIABLE}"
C = TypeVar("C", bound=Card)
NAMES = {
    "backbone": "a general model",
    "expert": "an expert",
    "gate": "a gate",
    "automatic": "an automatic model",
}

# Kinds of cards that an error about an unknown id names.
Wanted = tuple[type[Card], ...]
PROMPTABLE: Wanted = (BackboneCard, ExpertCard, GateCard)
ALL: Wanted = (*PROMPTABLE, AutomaticCard)


def user_folder() -> Path:
    """Where this user's converted models are: $SAM_MOE_CACHE/checkpoints, else under ~/.cache/sam_moe.

    Without either, as where a user has no home folder, a place that nothing can be written to: its name says
    what to do, and what ships works without.
    """
    chosen = os.environ.get(CACHE_VARIABLE)
    try:
        place = _expanded(chosen) if chosen else Path.home() / ".cache" / "sam_moe"
    except RuntimeError:  # no $HOME, and no entry in the password file
        place = _NO_HOME
    return place / "checkpoints"


def card_folders() -> list[Path]:
    """Where ids are looked up: the cards that ship, then the user's own."""
    return [default_folder()] + ([user_folder()] if user_folder().is_dir() else [])


def holder_of(id: str, folder: Path) -> Entry[Card] | None:
    """The card that has an id, in a folder or where ids are looked up."""
    places = dict.fromkeys([*([folder] if folder.is_dir() else []), *card_folders()])
    entries = (entry for place in places for entry in Registry(place).list())
    return next((entry for entry in entries if entry.card.id == id), None)


def find_backbone(model: str | Path, folder: Path | str | None = None) -> Entry[BackboneCard]:
    """Find a backbone's card, as `find_card` does.

    Raises:
        CardError: naming the known ids, the nearest first; or for another kind of card.
    """
    return as_backbone(find_card(model, folder, (BackboneCard,)))


def find_card(
    model: str | Path,
    folder: Path | str | None = None,
    wanted: Wanted = ALL,
) -> Entry[Card]:
    """Find a card by id, or read it from the path of a card or of its folder.

    An id is looked up in `folder`; without one among the cards that ship, then in the user's folder.
    `wanted` are the kinds that an error names; any kind is found.

    Raises:
        CardError: naming the known ids, the nearest first.
    """
    if isinstance(model, Path) or "/" in model or model.endswith((".json", ".pth", ".pt", ".safetensors")):
        return _entry_at(_expanded(model))
    folders = [Path(folder)] if folder is not None else [default_folder()]
    if folder is None and user_folder().is_dir():
        folders.append(user_folder())
    known: dict[str, Entry[Card]] = {}
    for place in folders:
        known = {entry.card.id: entry for entry in Registry(place).list()} | known
        if model in known:
            return known[model]
    models = [id for id, entry in known.items() if isinstance(entry.card, wanted)]
    kinds = {id: known[id].card.kind for id in nearest_first(model, models)}
    several = len(wanted) > 1  # else all are of one kind
    ids = ", ".join(f"{id} ({NAMES[kind]})" if several else id for id, kind in kinds.items()) or "none"
    beside = (Path(model) / CARD).is_file()
    here = f" For the folder of this name that is here, give ./{model}." if beside else ""
    raise CardError(
        f"no model with id {model!r} in {' or '.join(map(str, folders))}. Known, nearest first: {ids}.{here}"
    )


def find_model(model: str | Path, folder: Path | str | None = None, wanted: Wanted = ALL) -> Entry[Card]:
    """Find a card that `load` takes, as `find_card` does, by id also in other packages' folders.

    Raises:
        CardError: naming the known ids, the nearest first.
    """
    try:
        return find_card(model, folder, wanted)
    except CardError as error:
        if folder is not None:
            raise
        entries, broken = offered()
        found = next((entry for entry in entries if entry.card.id == model), None)
        if found is None:
            raise _with_broken(error, broken) from error
        return found


def as_backbone(entry: Entry[Card]) -> Entry[BackboneCard]:
    """The entry, if it is a backbone's.

    Raises:
        CardError: for an expert or a gate, naming the model it works on; for an automatic model.
    """
    card = entry.card
    if isinstance(card, BackboneCard):
        return Entry(card, entry.path)
    remedy = (
        f"Give one, such as {DEFAULT_MODEL!r}; for a list: sam-moe checkpoints."
        if isinstance(card, AutomaticCard)
        else f"Give the one that it works on: {card.base.id!r}."
    )
    raise CardError(f"{entry.path}: {card.id!r} is {NAMES[card.kind]}, no general model. {remedy}")


def as_promptable(entry: Entry[Card]) -> Entry[PromptableCard]:
    """The entry, if its model answers prompts.

    Raises:
        CardError: for an automatic model, naming the verb that it is for.
    """
    card = entry.card
    if isinstance(card, AutomaticCard):
        raise CardError(
            f"{entry.path}: {card.id!r} is {NAMES[card.kind]}, which takes no prompts. Use it: sam-moe "
            f"segment SCAN --model {_named(entry)} --out LABELS; or give a model that answers prompts, "
            f"such as {DEFAULT_MODEL!r}."
        )
    return Entry(card, entry.path)


def as_automatic(entry: Entry[Card]) -> Entry[AutomaticCard]:
    """The entry, if it is an automatic model's.

    Raises:
        CardError: for a model that answers prompts, naming the verb that it is for.
    """
    card = entry.card
    if not isinstance(card, AutomaticCard):
        raise CardError(
            f"{entry.path}: {card.id!r} is {NAMES[card.kind]}, which answers prompts alone. Use it: sam-moe "
            f"predict SCAN --point I J K --model {_named(entry)} --out MASK; or give an automatic model, "
            f"such as {DEFAULT_AUTOMATIC!r}."
        )
    return Entry(card, entry.path)


def list_experts() -> tuple[Entry[ExpertCard], ...]:
    """The experts that ship and the user's own, by id; a shipped id hides the user's."""
    return _all(Registry.experts)


def find_expert(expert: str | Path) -> Entry[ExpertCard]:
    """Find an expert by id or by the path of its card or folder; by id also in other packages' folders.

    Raises:
        CardError: naming the known ids, the nearest first.
    """
    if isinstance(expert, Path) or "/" in expert or expert.endswith(".json"):
        path = _expanded(expert)
        return expert_at(path / CARD if path.is_dir() else path)
    known = {entry.card.id: entry for entry in list_experts()}
    broken: tuple[CardError, ...] = ()
    if expert not in known:
        entries, broken = offered()
        for entry in entries:
            if not isinstance(entry.card, ExpertCard):
                continue
            if other := known.get(entry.card.id):
                if other.path.resolve() == entry.path.resolve():
                    continue
                raise CardError(f"{entry.path}: id: {entry.card.id!r} is already taken by {other.path}.")
            known[entry.card.id] = Entry(entry.card, entry.path)
    if expert not in known:
        if (holder := holder_of(expert, user_folder())) is not None:
            raise CardError(
                f"{expert!r} is {NAMES[holder.card.kind]}, no expert. See: sam-moe checkpoints show {expert}"
            )
        ids = ", ".join(nearest_first(expert, known)) or "none"
        unknown = CardError(f"no expert with id {expert!r}. Known, nearest first: {ids}.")
        raise _with_broken(unknown, broken)
    return known[expert]


def list_gates() -> tuple[Entry[GateCard], ...]:
    """The gates that ship and the user's own, by id; a shipped id hides the user's."""
    return _all(Registry.gates)


def list_automatics() -> tuple[Entry[AutomaticCard], ...]:
    """The automatic models that ship and the user's own, by id; a shipped id hides the user's."""
    return _all(Registry.automatics)


def find_gate(gate: str | Path) -> Entry[GateCard]:
    """Find a gate by id, among those that ship and the user's own, or by the path of its card or folder.

    Raises:
        CardError: naming the known ids, the nearest first.
    """
    return gate_at(find_card(gate, wanted=(GateCard,)).path)


def gates_over(expert: str) -> tuple[str, ...]:
    """The ids of the gates that choose among others this expert."""
    gates = (entry.card for entry in list_gates())
    return tuple(card.id for card in gates if expert in [ref.id for ref in card.experts[1:]])


def expert_at(path: Path) -> Entry[ExpertCard]:
    """The entry of an expert's card that lies here."""
    entry = read_entry(path)
    if not isinstance(entry.card, ExpertCard):
        raise CardError(f"{path}: is the card of {NAMES[entry.card.kind]}, not of an expert.")
    return Entry(entry.card, entry.path)


def gate_at(path: Path) -> Entry[GateCard]:
    """The entry of a gate's card that lies here."""
    entry = read_entry(path)
    if not isinstance(entry.card, GateCard):
        raise CardError(f"{path}: is the card of {NAMES[entry.card.kind]}, not of a gate.")
    return Entry(entry.card, entry.path)


def _all(of_kind: Callable[[Registry], tuple[Entry[C], ...]]) -> tuple[Entry[C], ...]:
    """Cards of one kind where ids are looked up, by id."""
    found: dict[str, Entry[C]] = {}
    for folder in card_folders():
        found = {entry.card.id: entry for entry in of_kind(Registry(folder))} | found
    return tuple(found[id] for id in sorted(found))


def _named(entry: Entry[Card]) -> str:
    """What finds a card again: its id where ids are looked up, else its folder."""
    beside = entry.folder.resolve().parent
    return entry.card.id if any(beside == place.resolve() for place in card_folders()) else str(entry.folder)


def _with_broken(error: CardError, broken: tuple[CardError, ...]) -> CardError:
    """An unknown id's error, and after it which packages could not be searched."""
    return CardError(" ".join([str(error), *(f"Not searched: {fault}" for fault in broken)]))


def _entry_at(path: Path) -> Entry[Card]:
    card_path = path / CARD if path.is_dir() else path
    if card_path.suffix != ".json":
        raise CardError(
            f"{path}: is not a card. Give an id, a {CARD} or its folder; for a checkpoint, first run "
            f"`sam-moe convert {path}`."
        )
    if path.is_dir() and not card_path.is_file():
        raise CardError(
            f"{path}: has no {CARD}. Give the folder of one model, or an id and folder={str(path)!r}."
        )
    return read_entry(card_path)


def _expanded(path: Path | str) -> Path:
    """A path with its `~`; as it is where there is no such user, or no home."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)
