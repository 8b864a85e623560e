"""Cards come into a folder and go out of it in one step; what goes out is kept aside, to be put back."""

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from sam_moe.assemble.backbone import check_file, sizes_of
from sam_moe.assemble.convert import user_folder
from sam_moe.assemble.expert_weights import Taken
from sam_moe.config import nearest_first
from sam_moe.errors import CardError, FileError
from sam_moe.registry import (
    CARD,
    Card,
    Draft,
    Entry,
    ExpertCard,
    Registry,
    Weights,
    default_folder,
    write_card,
)
from sam_moe.sam3d.weights import check_state, read_state, save_weights, sha256_of

REMOVED = ".removed"
WEIGHTS = "expert.safetensors"

_STORED = {torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16"}


def card_folders() -> list[Path]:
    """Where ids are looked up: the cards that ship, then the user's own."""
    return [default_folder()] + ([user_folder()] if user_folder().is_dir() else [])


def holder_of(id: str, folder: Path) -> Entry[Card] | None:
    """The card that has an id, in a folder or where ids are looked up."""
    places = dict.fromkeys([*([folder] if folder.is_dir() else []), *card_folders()])
    entries = (entry for place in places for entry in Registry(place).list())
    return next((entry for entry in entries if entry.card.id == id), None)


def take_out(id: str, folder: Path | str | None = None, kinds: Sequence[str] = ("expert", "gate")) -> Path:
    """Take a card of these kinds out of a folder of cards, and return where it lies now.

    `add_expert` of that, or `restore_gate`, undoes it. Only this card goes; what it names stays.

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
            told = f"{id!r} ships with sam-moe and is never changed; only what lies in {folder} is removed."
            if shipped[id] == "expert":
                told += f" For a gate without it: sam-moe experts remove {id} --gate GATE"
            raise CardError(told)
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


def write_expert(
    draft: Draft, taken: Taken, base_sha256: str, source_sha256: str, folder: Path
) -> Entry[ExpertCard]:
    """Write weights and card of an expert, and of its feature bank if it has one; all of it or nothing.

    Raises:
        CardError: for a card that does not fit the weights, or an id already taken.
        FileError: where the folder cannot be written.
    """
    state, dtype = storable(taken.state)
    known = {**taken.known(), "base": {"sha256": base_sha256}}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".incoming-", dir=folder) as incoming:
            aside = Path(incoming) / "expert"
            aside.mkdir()
            path = aside / WEIGHTS
            save_weights(state, path, {"source_sha256": source_sha256})
            record = record_of(WEIGHTS, sha256_of(path), path.stat().st_size, dtype)
            draft.finished({**known, "weights": record})  # what it says of its weights is no less checked
            card = Draft(draft.path, {**draft.fields, "weights": record}).finished(known)
            if card.expert_kind != taken.kind:
                raise CardError(
                    f"{draft.path}: expert_kind: is {card.expert_kind!r}, and the weights are a {taken.kind} "
                    f"for {card.base.id}. Correct it or leave it out."
                )
            check_sizes(card, state, str(draft.path))
            if (holder := holder_of(card.id, folder)) is not None:
                raise refuse(card.id, holder, taken.state, str(draft.path))
            if card.feature_bank is not None:
                bank = draft.path.parent / card.feature_bank.file
                check_file(bank, card.feature_bank, draft.path)
                (aside / card.feature_bank.file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(bank, aside / card.feature_bank.file)
            write_card(card, aside / CARD)
            os.replace(aside, folder / card.id)
    except OSError as error:
        raise FileError(f"{folder}: cannot be written ({error}). Check rights and room.") from error
    return Entry(card, folder / card.id / CARD)


def refuse(id: str, holder: Entry[Card], state: dict[str, Tensor], where: str) -> CardError:
    """Why an expert cannot have an id, and what to do: it may be here already, or must make room."""
    told = f"{where}: id: {id!r} is already taken by {holder.path}"
    if isinstance(holder.card, ExpertCard):
        if same_weights(Entry(holder.card, holder.path), state):
            return CardError(
                f"{told}, with the same weights. For a gate that uses it add --gate and --examples."
            )
        if holder.path.resolve().is_relative_to(user_folder().resolve()):
            return CardError(
                f"{told}, with other weights. First sam-moe experts remove {id}, or choose another id."
            )
    return CardError(f"{told}. Choose another id.")


def same_weights(entry: Entry[ExpertCard], state: dict[str, Tensor]) -> bool:
    """Whether an expert's file holds just these tensors, as they would be stored."""
    mine, wanted = read_state(entry.folder / entry.card.weights.file), storable(state)[0]
    return mine.keys() == wanted.keys() and all(
        mine[name].dtype == tensor.dtype and torch.equal(mine[name], tensor)
        for name, tensor in wanted.items()
    )


def check_sizes(card: ExpertCard, state: dict[str, Tensor], where: str) -> None:
    """A full model is built of the card's architecture, which may know more than shapes tell."""
    if card.architecture is not None:
        check_state(state, sizes_of(card.architecture), where)


def storable(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Tensors in one precision: the one they have, or float32 where they have several."""
    kinds = {tensor.dtype for tensor in state.values()}
    if len(kinds) == 1 and (dtype := _STORED.get(next(iter(kinds)))):
        return state, dtype
    return {name: tensor.to(torch.float32) for name, tensor in state.items()}, "float32"


def record_of(file: str, sha256: str, size: int, dtype: str) -> dict[str, object]:
    """How a draft names a file of weights."""
    record: dict[str, object] = json.loads(
        Weights.model_validate(
            {"file": file, "sha256": sha256, "size_bytes": size, "dtype": dtype}
        ).model_dump_json()
    )
    return record
