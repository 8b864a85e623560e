"""Cards go out of a folder in one step and are kept aside, to be put back; without torch."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from sam_moe.config import nearest_first
from sam_moe.errors import CardError, FileError
from sam_moe.registry.automatic import AutomaticCard
from sam_moe.registry.backbone import BackboneCard
from sam_moe.registry.finding import NAMES, gate_at, holder_of, user_folder
from sam_moe.registry.folder import Entry, Registry, default_folder
from sam_moe.registry.gate import GateCard
from sam_moe.registry.parts import CARD

REMOVED = ".removed"


def remove_card(id: str, folder: Path | str | None = None, kinds: Sequence[str] = ("expert", "gate")) -> Path:
    """Take a card of these kinds out of a folder of cards, and return where it lies now.

    Adding that folder again, or `restore_gate`, undoes it. Only this card goes; what it names stays.

    Raises:
        CardError: where the folder has no such card; of a card that ships it says so.
        FileError: where it cannot be moved.
    """
    folder = user_folder() if folder is None else Path(folder)
    cards = Registry(folder).list() if folder.is_dir() else ()
    entries = {entry.card.id: entry for entry in cards if entry.card.kind in kinds}
    if id not in entries:
        shipped = {entry.card.id: entry.card.kind for entry in Registry(default_folder()).list()}
        if id in shipped:
            message = (
                f"{id!r} ships with sam-moe and is never changed; only what lies in {folder} is removed."
            )
            if shipped[id] == "expert":
                message += f" For a gate without it: sam-moe experts remove {id} --gate GATE"
            raise CardError(message)
        models = {e.card.id: e for e in cards if isinstance(e.card, BackboneCard | AutomaticCard)}
        if id in models:
            raise CardError(
                f"{models[id].path}: {id!r} is {NAMES[models[id].card.kind]}, no {' or '.join(kinds)}. To "
                f"remove it, delete its folder {models[id].folder}."
            )
        known = ", ".join(nearest_first(id, entries)) or "none"
        raise CardError(
            f"{folder}: has no {' or '.join(kinds)} with id {id!r}. Known, nearest first: {known}."
        )
    entry = entries[id]
    weights = entry.card.weights
    aside = folder / REMOVED / f"{id}-{weights.sha256[:8] if weights else 'hub'}"
    try:
        aside.parent.mkdir(exist_ok=True)
        if aside.exists():  # the same weights, removed before
            shutil.rmtree(aside)
        os.replace(entry.folder, aside)
    except OSError as error:
        raise FileError(
            f"{entry.folder}: cannot be moved to {aside} ({error.strerror}). Check rights."
        ) from error
    return aside


def was_removed(source: Path, folder: Path) -> bool:
    """Whether a card's folder lies among what was removed from a folder of cards."""
    return source.resolve().parent == (folder / REMOVED).resolve()


def restore_gate(source: Path, folder: Path | str | None = None) -> Entry[GateCard]:
    """Put a gate back that `remove_card` took out of this folder of cards.

    Raises:
        CardError: for a folder that was not removed from there, or an id that was taken since.
    """
    folder = user_folder() if folder is None else Path(folder)
    entry = gate_at(source / CARD)
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
    return gate_at(folder / entry.card.id / CARD)
