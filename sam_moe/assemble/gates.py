"""Gates are found by id, say whom they choose among, and are put back once removed."""

import os
from pathlib import Path

from sam_moe.assemble.backbone import NAMES, find_card
from sam_moe.assemble.convert import user_folder
from sam_moe.assemble.keeping import card_folders, holder_of, was_removed
from sam_moe.errors import CardError, FileError
from sam_moe.registry import CARD, Entry, GateCard, Registry, read_entry


def list_gates() -> tuple[Entry[GateCard], ...]:
    """The gates that ship and the user's own, by id; a shipped id hides the user's."""
    found: dict[str, Entry[GateCard]] = {}
    for folder in card_folders():
        found = {entry.card.id: entry for entry in Registry(folder).gates()} | found
    return tuple(found[id] for id in sorted(found))


def find_gate(gate: str | Path) -> Entry[GateCard]:
    """Find a gate by id, among those that ship and the user's own, or by the path of its card or folder.

    Raises:
        CardError: naming the known ids, the nearest first.
    """
    return _gate(find_card(gate, offered=(GateCard,)).path)


def gates_over(expert: str) -> tuple[str, ...]:
    """The ids of the gates that choose among others this expert."""
    gates = (entry.card for entry in list_gates())
    return tuple(card.id for card in gates if expert in [ref.id for ref in card.experts[1:]])


def restore_gate(source: Path, folder: Path | str | None = None) -> Entry[GateCard]:
    """Put a gate back that `take_out` took out of this folder of cards.

    Raises:
        CardError: for a folder that was not removed from there, or an id that was taken since.
    """
    folder = user_folder() if folder is None else Path(folder)
    entry = _gate(source / CARD)
    if not was_removed(source, folder):
        raise CardError(
            f"{source}: is a gate's folder, and not among what was removed from {folder}. Use a gate by its "
            f"folder: --model {source}."
        )
    if (holder := holder_of(entry.card.id, folder)) is not None:
        raise CardError(
            f"{source}: id: {entry.card.id!r} is taken by {holder.path} since. First remove that: sam-moe "
            f"experts remove {entry.card.id}."
        )
    try:
        os.replace(source, folder / entry.card.id)
    except OSError as error:
        raise FileError(f"{source}: cannot be moved to {folder} ({error.strerror}). Check rights.") from error
    return _gate(folder / entry.card.id / CARD)


def _gate(path: Path) -> Entry[GateCard]:
    entry = read_entry(path)
    if not isinstance(entry.card, GateCard):
        raise CardError(f"{path}: is the card of {NAMES[entry.card.kind]}, not of a gate.")
    return Entry(entry.card, entry.path)
