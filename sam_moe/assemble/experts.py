"""Experts come and go: found by id, checked against their base, added in one step, removed and put back."""

import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sam_moe.assemble.backbone import check_file, find_entry, load_backbone, sizes_of
from sam_moe.assemble.convert import user_folder
from sam_moe.assemble.expert_weights import Taken, decoder_of, merged_lora, take, take_lora
from sam_moe.config import nearest_first
from sam_moe.errors import CardError, FileError
from sam_moe.registry import (
    CARD,
    Draft,
    Entry,
    ExpertCard,
    Lora,
    Registry,
    Weights,
    default_folder,
    most_restrictive,
    plugins,
    read_draft,
    read_entry,
    write_card,
)
from sam_moe.sam3d.mask_decoder import MaskDecoder
from sam_moe.sam3d.model import SamMed3D
from sam_moe.sam3d.weights import check_state, fingerprint, read_metadata, read_state, save_weights, sha256_of

REMOVED = ".removed"
WEIGHTS = "expert.safetensors"

_STORED = {torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16"}


@dataclass(frozen=True)
class Checked:
    """An expert that fits its base."""

    entry: Entry[ExpertCard]
    numbers: int
    licence: str

    def __str__(self) -> str:
        card = self.entry.card
        return (
            f"{card.id}: {card.expert_kind} on {card.base.id}; {self.numbers:,} finite numbers "
            f"in {card.weights.dtype}, {card.weights.size_bytes / 1e6:.1f} MB; "
            f"with its base under {self.licence}"
        )


def list_experts() -> tuple[Entry[ExpertCard], ...]:
    """The experts that ship and the user's own, by id; a shipped id hides the user's."""
    found: dict[str, Entry[ExpertCard]] = {}
    for folder in _folders():
        found = {entry.card.id: entry for entry in Registry(folder).experts()} | found
    return tuple(found[id] for id in sorted(found))


def find_expert(expert: str | Path) -> Entry[ExpertCard]:
    """Find an expert by id or by the path of its card or folder; by id also in other packages' folders.

    Raises:
        CardError: naming the known ids, the nearest first.
    """
    if isinstance(expert, Path) or "/" in expert or expert.endswith(".json"):
        path = Path(expert).expanduser()
        return _expert(path / CARD if path.is_dir() else path)
    known = {entry.card.id: entry for entry in list_experts()}
    if expert not in known:
        for plugin in plugins():
            for entry in plugin.registry().experts():
                if other := known.get(entry.card.id):
                    if other.path.resolve() == entry.path.resolve():
                        continue
                    raise CardError(f"{entry.path}: id: {entry.card.id!r} is already taken by {other.path}.")
                known[entry.card.id] = entry
    if expert not in known:
        ids = ", ".join(nearest_first(expert, known)) or "none"
        raise CardError(f"no expert with id {expert!r}. Known, nearest first: {ids}.")
    return known[expert]


def add_expert(
    source: Path | str,
    card: Path | str | None = None,
    folder: Path | str | None = None,
    base: SamMed3D | None = None,
) -> Entry[ExpertCard]:
    """Put an expert into a folder of cards: converted, checked against its base, in one step.

    Args:
        source: a checkpoint of a decoder or of a whole finetuned model, or the folder of a finished expert.
        card: its card; checksums, expert_kind and architecture may be missing. Else the one in `source`.
        folder: a folder of cards; by default the user's own.
        base: the backbone that the card names, where the caller has loaded it.

    Raises:
        CardError: for a bad card, another base than the card's, an id already taken.
        WeightsError: for weights that do not fit the base or are not finite.
        FileError: where the folder cannot be written; nothing is left behind.
    """
    source, folder = Path(source), user_folder() if folder is None else Path(folder)
    if source.is_dir():
        card = source / CARD if card is None else card
        finished = _expert(source / CARD)
        check_file(source / finished.card.weights.file, finished.card.weights, finished.path)
        weights = source / finished.card.weights.file
        origin = read_metadata(weights).get("source_sha256", finished.card.weights.sha256)
    elif card is None:
        raise CardError(f"{source}: has no card. Give one with the expert's id, base, covers and licence.")
    else:
        weights, origin = source, sha256_of(source)
    draft = read_draft(card)
    model = load_backbone(find_entry(draft.base_id)) if base is None else base
    sha256 = _same_base(draft, model)
    taken = _take(weights, model, _lora(draft), str(weights))
    placed = _write(draft, taken, sha256, origin, folder)
    if source.resolve().parent == (folder / REMOVED).resolve():
        shutil.rmtree(source)  # it is back in its place
    return placed


def remove_expert(id: str, folder: Path | str | None = None) -> Path:
    """Take an expert out of a folder of cards, and return where it lies now; `add_expert` of that undoes it.

    Raises:
        CardError: where the folder has no such expert.
    """
    folder = user_folder() if folder is None else Path(folder)
    entries = {entry.card.id: entry for entry in Registry(folder).experts()} if folder.is_dir() else {}
    if id not in entries:
        known = ", ".join(nearest_first(id, entries)) or "none"
        raise CardError(f"{folder}: has no expert with id {id!r}. Known, nearest first: {known}.")
    entry = entries[id]
    aside = folder / REMOVED / f"{id}-{entry.card.weights.sha256[:8]}"
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


def check_expert(entry: Entry[ExpertCard], base: SamMed3D | None = None) -> Checked:
    """See that an expert is what its card says and fits the backbone that the card names.

    Raises:
        CardError: for another base than the card's, or another kind of expert.
        WeightsError: for files that are not the card's, do not fit the base or are not finite.
    """
    card = entry.card
    for file in (card.weights, card.feature_bank):
        if file is not None:
            check_file(entry.folder / file.file, file, entry.path)
    backbone = find_entry(card.base.id)
    model = load_backbone(backbone) if base is None else base
    _same_base(read_draft(entry.path), model)
    taken = _take(entry.folder / card.weights.file, model, card.lora, str(entry.path))
    if taken.kind != card.expert_kind:
        raise CardError(
            f"{entry.path}: expert_kind: is {card.expert_kind!r}, and the weights are a {taken.kind}."
        )
    _check_sizes(card, taken.state, str(entry.path))
    numbers = sum(tensor.numel() for tensor in taken.state.values())
    return Checked(entry, numbers, most_restrictive([card.licence, backbone.card.licence]))


def load_decoder(entry: Entry[ExpertCard], base: SamMed3D) -> MaskDecoder:
    """The frozen decoder of an expert; deltas are merged into a copy of the base's.

    Raises:
        CardError: for an expert of kind 'full', which is more than a decoder.
        WeightsError: for a file that is not the card's or does not fit the base.
    """
    path, lora = entry.folder / entry.card.weights.file, entry.card.lora
    check_file(path, entry.card.weights, entry.path)
    state = read_state(path)
    return decoder_of(state, base, str(path)) if lora is None else merged_lora(state, base, lora, str(path))


def _folders() -> list[Path]:
    return [default_folder()] + ([user_folder()] if user_folder().is_dir() else [])


def _expert(path: Path) -> Entry[ExpertCard]:
    entry = read_entry(path)
    if not isinstance(entry.card, ExpertCard):
        raise CardError(f"{path}: is the card of a {entry.card.kind}, not of an expert.")
    return Entry(entry.card, entry.path)


def _same_base(draft: Draft, model: SamMed3D) -> str:
    found = fingerprint(model)
    if draft.base_sha256 not in (None, found):
        raise CardError(
            f"{draft.path}: base.sha256: is {draft.base_sha256}, and {draft.base_id} has {found}: the expert "
            "grew on other weights and would answer nonsense on these. Name the backbone it was made from."
        )
    return found


def _lora(draft: Draft) -> Lora | None:
    """The ranks of a draft of deltas, which their file alone does not tell."""
    if draft.fields.get("expert_kind") != "lora":
        return None
    dummy = {"weights": _record("x", "0" * 64, 1, "float32"), "base": {"sha256": "0" * 64}}
    return draft.finished(dummy).lora


def _take(path: Path, base: SamMed3D, lora: Lora | None, where: str) -> Taken:
    state = read_state(path)
    return take(state, base, where) if lora is None else take_lora(state, base, lora, where)


def _write(
    draft: Draft, taken: Taken, base_sha256: str, source_sha256: str, folder: Path
) -> Entry[ExpertCard]:
    state, dtype = _storable(taken.state)
    known = {**taken.known(), "base": {"sha256": base_sha256}}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".incoming-", dir=folder) as incoming:
            aside = Path(incoming) / "expert"
            aside.mkdir()
            path = aside / WEIGHTS
            save_weights(state, path, {"source_sha256": source_sha256})
            record = _record(WEIGHTS, sha256_of(path), path.stat().st_size, dtype)
            draft.finished({**known, "weights": record})  # what it says of its weights is no less checked
            card = Draft(draft.path, {**draft.fields, "weights": record}).finished(known)
            if card.expert_kind != taken.kind:
                raise CardError(
                    f"{draft.path}: expert_kind: is {card.expert_kind!r}, and the weights are a {taken.kind} "
                    f"for {card.base.id}. Correct it or leave it out."
                )
            _check_sizes(card, state, str(draft.path))
            _refuse_taken(card.id, draft.path, folder)
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


def _refuse_taken(id: str, path: Path, folder: Path) -> None:
    for place in dict.fromkeys([folder, *_folders()]):
        for entry in Registry(place).list():
            if entry.card.id == id:
                raise CardError(
                    f"{path}: id: {id!r} is already taken by {entry.path}. Choose another id, or "
                    "first remove that."
                )


def _check_sizes(card: ExpertCard, state: dict[str, Tensor], where: str) -> None:
    """A full model is built of the card's architecture, which may know more than shapes tell."""
    if card.architecture is not None:
        check_state(state, sizes_of(card.architecture), where)


def _storable(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Tensors in one precision: the one they have, or float32 where they have several."""
    kinds = {tensor.dtype for tensor in state.values()}
    if len(kinds) == 1 and (dtype := _STORED.get(next(iter(kinds)))):
        return state, dtype
    return {name: tensor.to(torch.float32) for name, tensor in state.items()}, "float32"


def _record(file: str, sha256: str, size: int, dtype: str) -> dict[str, object]:
    record: dict[str, object] = json.loads(
        Weights.model_validate(
            {"file": file, "sha256": sha256, "size_bytes": size, "dtype": dtype}
        ).model_dump_json()
    )
    return record
