"""An expert comes into a folder of cards in one step, whole or not at all."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from sam_moe.errors import CardError
from sam_moe.files import make_folder, new_folder, sha256_of
from sam_moe.registry import (
    CARD,
    Card,
    Draft,
    Entry,
    ExpertCard,
    Weights,
    check_weights,
    same_file,
    write_card,
)
from sam_moe.registry.finding import holder_of, user_folder
from sam_moe.systems.sam_med3d_moe.cards.expert_weights import Taken
from sam_moe.systems.sam_med3d_moe.experts import kind_of
from sam_moe.weights.files import read_state, save_weights

EXPERT_WEIGHTS = "expert.safetensors"
BANK = "bank.safetensors"

_STORED = {torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16"}


def write_expert(
    draft: Draft,
    taken: Taken,
    base_sha256: str,
    source_sha256: str,
    folder: Path,
    check: Callable[[Entry[ExpertCard]], object],
) -> Entry[ExpertCard]:
    """Write weights and card of an expert, and its feature bank if it has one; all of it or nothing.

    The files get names of ours, whatever the draft calls them. `check` is given the finished expert before
    it comes to its place; what it raises leaves nothing there.

    Raises:
        CardError: for a card that does not fit the weights, or an id already taken.
        FileError: where the folder cannot be written.
    """
    state, dtype = storable(taken.state)
    known = {**taken.known(), "base": {"sha256": base_sha256}}
    bank = draft.fields.get("feature_bank")
    taken_name = isinstance(bank, Mapping) and same_file(str(bank.get("file")), EXPERT_WEIGHTS)
    unknown = record_of(f"the-{EXPERT_WEIGHTS}" if taken_name else EXPERT_WEIGHTS, "0" * 64, 1, dtype)
    card = draft.finished({**known, "weights": unknown})  # what it says of its weights is checked, too
    if card.expert_kind != taken.kind:
        raise CardError(
            f"{draft.path}: expert_kind: is {card.expert_kind!r}, and the weights are a {taken.kind} "
            f"for {card.base.id}. Correct it or leave it out."
        )
    kind_of(card).check(card, state, str(draft.path))
    if (holder := holder_of(card.id, folder)) is not None:
        raise refuse(card.id, holder, taken.state, str(draft.path))
    make_folder(folder)
    with new_folder(folder / card.id) as new:
        path, files = new / EXPERT_WEIGHTS, {}
        save_weights(state, path, {"source_sha256": source_sha256})
        files["weights"] = record_of(EXPERT_WEIGHTS, sha256_of(path), path.stat().st_size, dtype)
        if (named := card.feature_bank) is not None:
            source = draft.path.parent / named.file
            check_weights(source, named, draft.path)
            shutil.copyfile(source, new / BANK)
            files["feature_bank"] = record_of(BANK, named.sha256, named.size_bytes, named.dtype)
        card = Draft(draft.path, {**draft.fields, **files}).finished(known)
        write_card(card, new / CARD)
        check(Entry(card, new / CARD))
    return Entry(card, folder / card.id / CARD)


def refuse(id: str, holder: Entry[Card], state: dict[str, Tensor], where: str) -> CardError:
    """Why an expert cannot have an id, and what to do: it may be here already, or must make room."""
    taken = f"{where}: id: {id!r} is already taken by {holder.path}"
    if isinstance(holder.card, ExpertCard):
        if same_weights(Entry(holder.card, holder.path), state):
            return CardError(
                f"{taken}, with the same weights. For a gate that uses it add --gate and --examples."
            )
        if holder.path.resolve().is_relative_to(user_folder().resolve()):
            return CardError(
                f"{taken}, with other weights. First sam-moe experts remove {id}, or choose another id."
            )
    return CardError(f"{taken}. Choose another id.")


def same_weights(entry: Entry[ExpertCard], state: dict[str, Tensor]) -> bool:
    """Whether an expert's file holds just these tensors, as they would be stored."""
    mine, wanted = read_state(entry.folder / entry.card.weights.file), storable(state)[0]
    return mine.keys() == wanted.keys() and all(
        mine[name].dtype == tensor.dtype and torch.equal(mine[name], tensor)
        for name, tensor in wanted.items()
    )


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
