"""A gate becomes another, in the user's folder: with one expert more, or one less; it itself stays."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from sam_moe.config import explain
from sam_moe.errors import CardError, ConfigError
from sam_moe.files import check_writable, make_folder, new_folder, sweep
from sam_moe.moe.gate import check_lightweight
from sam_moe.moe.selection import shares
from sam_moe.registry import (
    CARD,
    Entry,
    ExpertCard,
    ExpertRef,
    GateCard,
    MadeBy,
    check_weights,
    default_folder,
    same_file,
    write_card,
)
from sam_moe.registry.finding import user_folder
from sam_moe.systems.sam_med3d_moe.cards.backbone import LoadedBase, load_base
from sam_moe.systems.sam_med3d_moe.cards.experts import load_decoder
from sam_moe.systems.sam_med3d_moe.cards.mixture import load_gate, selection_of
from sam_moe.systems.sam_med3d_moe.experts import kind_of
from sam_moe.systems.sam_med3d_moe.gate import GateInput
from sam_moe.systems.sam_med3d_moe.grow_gate.examples import read_examples
from sam_moe.systems.sam_med3d_moe.grow_gate.new_column import Grown, fit_column, joined
from sam_moe.systems.sam_med3d_moe.train_gate.asking import Asking, build_table
from sam_moe.systems.sam_med3d_moe.train_gate.card import BANK, bank_of, load_banks, save_banks, weights_of
from sam_moe.systems.sam_med3d_moe.train_gate.members import Decoders
from sam_moe.systems.sam_med3d_moe.train_gate.regions import Stream, draw_regions
from sam_moe.weights.files import WEIGHTS, save_weights

# Cut from the examples for the new expert; twice as many for the general one.
REGIONS = 96


def grow_gate(
    gate_entry: Entry[GateCard],
    expert: Entry[ExpertCard],
    examples: Path,
    to: str | None = None,
    base: LoadedBase | None = None,
    regions: int = REGIONS,
) -> tuple[Grown, Path]:
    """Give a gate a column for an expert, from a few labelled cases, and return where the gate now lies.

    The gate itself is not changed: a new one is written to the user's folder, by the id `to` (its own and
    the expert's joined by default), whole or not at all. The expert's folder gets a bank of what the gate
    saw of the examples, if it has none and is the user's own. `base` is the backbone, where the caller has
    loaded it. `regions` are cut from the examples for the expert, and twice as many for the general one.

    Raises:
        CardError: for an expert of another backbone or one that the gate has, or an id already taken.
        ConfigError: for `to` that is no id, and examples that cannot be read, or that are no different from
            what others answer.
    """
    card, id = gate_entry.card, expert.card.id
    named = to or f"{card.id}-{id}"
    described = {
        "id": named,
        "title": f"{card.id} with {id}",
        "description": f"{card.description} A column for {id} was fitted to a few cases.".strip(),
        "made_by": _made(card, ["add", id, "--gate", card.id, "--examples", str(examples)]),
    }
    _prepare(named)
    renamed = _changed(card, described)
    _check_reached(gate_entry)
    base = load_base(card.base.id) if base is None or base.entry.card.id != card.base.id else base
    model = base.model.eval().requires_grad_(False)
    _check(gate_entry, expert, base.sha256)
    gate, banks = load_gate(gate_entry, model), _banks(gate_entry)
    scans = read_examples(examples, [cover.structure for cover in expert.card.covers])
    stream = Stream(regions, 0, unlabelled_share=0.25)  # varied: they are few
    own = [{"example": ["example"]}]
    drawn = draw_regions(scans, own, frozenset(), base.entry.card.preprocessing, stream)
    each = (model.mask_decoder, load_decoder(expert, model))
    decoders = Decoders(model, each, base.entry.card.default_box_strategy)
    table = build_table(decoders, drawn, Asking(seed=0, scored=False, turns=2))
    kept_columns = {name: tensor.clone() for name, tensor in gate.state_dict().items()}
    known = [banks[ref.id] for ref in card.experts]
    # What else the examples' scans show is the general expert's: by the scan alone nothing shall be chosen.
    known[0] = joined([known[0], table.rows(table.owner == 0).seen])
    grown = fit_column(gate, known, table.rows(table.owner == 1).seen, selection_of(card))
    check_lightweight(grown.gate, model)
    state = grown.gate.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in kept_columns.items())
    banks[id] = bank_of(table, 1)
    _keep_bank(expert, banks[id])
    refs = (*card.experts, ExpertRef(id=id, sha256=expert.card.weights.sha256))
    return grown, _write(renamed, refs, state, {ref.id: banks[ref.id] for ref in refs})


def shrink_gate(gate_entry: Entry[GateCard], expert: str, to: str | None = None) -> Path:
    """Leave an expert out of a gate, and return where the new gate lies; the gate itself is not changed.

    The other columns keep every bit, and so do all logits; confidences rise by what the expert had. The
    expert need not be there any more.

    Raises:
        CardError: for an expert that the gate does not know, the general one, or an id already taken.
        ConfigError: for `to` that is no id, or a gate that cannot choose without the expert.
    """
    card = gate_entry.card
    ids = [ref.id for ref in card.experts]
    if expert not in ids[1:]:
        raise CardError(
            f"{gate_entry.path}: experts: has no column for {expert!r} that could be left out. It chooses "
            f"among {', '.join(ids[1:]) or 'no expert'}, and falls back on {ids[0]}."
        )
    named = to or f"{card.id}-without-{expert}"
    described = {
        "id": named,
        "title": f"{card.id} without {expert}",
        "description": f"{card.description} The column for {expert} was left out.".strip(),
        "made_by": _made(card, ["remove", expert, "--gate", card.id]),
    }
    _prepare(named)
    refs = tuple(ref for ref in card.experts if ref.id != expert)
    renamed = _changed(card, {**described, **_over(card, refs)})
    selection_of(renamed)  # its settings may name the expert: refused now, not when the gate is loaded
    gate = load_gate(gate_entry, load_base(card.base.id).model)
    gate.remove_column(ids.index(expert))
    banks = None if card.feature_bank is None else _banks(gate_entry)
    kept = None if banks is None else {ref.id: banks[ref.id] for ref in refs}
    return _write(renamed, refs, gate.state_dict(), kept)


def _check(gate: Entry[GateCard], expert: Entry[ExpertCard], base_sha256: str) -> None:
    for where, found in ((gate.path, gate.card.base), (expert.path, expert.card.base)):
        if found.sha256 != base_sha256:
            raise CardError(
                f"{where}: base.sha256: is {found.sha256}, and {gate.card.base.id} has {base_sha256}. Gate "
                "and expert must have grown on the same backbone."
            )
    if expert.card.id in [ref.id for ref in gate.card.experts]:
        raise CardError(f"{gate.path}: experts: {expert.card.id!r} has a column already.")
    if kind_of(expert.card).own_encoder:
        raise CardError(
            f"{expert.path}: expert_kind: {expert.card.expert_kind!r} cannot be fitted; finetune the decoder "
            "alone."
        )


def _check_reached(gate: Entry[GateCard]) -> None:
    """See that the gate's rule would ask a further expert that has all confidence, before the work."""
    rule, ids = selection_of(gate.card), [ref.id for ref in gate.card.experts]
    sure = torch.eye(len(ids) + 1)[-1:]
    if float(shares(rule, sure)[0, -1]) == 0:
        raise CardError(
            f"{gate.path}: selection: by {gate.card.selection!r} ({rule.describe(ids)}) a further column "
            "would never be reached. Give a gate that chooses."
        )


def _prepare(id: str) -> None:
    """See that a gate can be written under an id, before the work; clear what killed processes left."""
    check_writable(user_folder())
    sweep(user_folder())
    for place in (default_folder() / id, user_folder() / id):
        if (place / CARD).exists():
            raise CardError(f"{place}: a card is there already. Give the new gate another id: --to ID.")


def _changed(card: GateCard, changes: Mapping[str, Any]) -> GateCard:
    try:
        return GateCard.model_validate({**card.model_dump(), **changes})
    except ValidationError as error:
        raise ConfigError(explain(error, GateCard, "the new gate")) from error


def _over(card: GateCard, refs: tuple[ExpertRef, ...]) -> dict[str, Any]:
    """The card's fields for other experts; what was measured was measured over those before."""
    sizes = card.architecture.model_copy(update={"columns": len(refs)})
    return {"experts": refs, "architecture": sizes, "measured": (), "curve": ()}


def _made(card: GateCard, words: Sequence[str]) -> MadeBy:
    """How the new gate was made: as the old one, and then by a command."""
    command = shlex.join(["sam-moe", "experts", *words])
    if card.made_by is None:
        return MadeBy(command=command)
    return card.made_by.model_copy(update={"command": f"{card.made_by.command}; {command}"})


def _banks(entry: Entry[GateCard]) -> dict[str, GateInput]:
    """What the gate saw of its experts' prompts."""
    found = entry.card.feature_bank
    if found is None:
        raise CardError(
            f"{entry.path}: feature_bank: missing, so that old routing cannot be kept. Train the gate again "
            "with sam-moe train-gate, which writes one."
        )
    check_weights(entry.folder / found.file, found, entry.path)
    banks = load_banks(entry.folder / found.file)
    if lacking := [ref.id for ref in entry.card.experts if ref.id not in banks]:
        raise CardError(
            f"{entry.folder / found.file}: holds nothing of {', '.join(lacking)}. Train it again."
        )
    return banks


def _keep_bank(expert: Entry[ExpertCard], bank: GateInput) -> None:
    """Put the bank into the expert's folder; its card names it last, so that a kill leaves the old card."""
    own = expert.path.resolve().is_relative_to(user_folder().resolve())
    if expert.card.feature_bank is not None or not own:
        return
    sweep(expert.folder)
    path = expert.folder / (f"gate-{BANK}" if same_file(expert.card.weights.file, BANK) else BANK)
    save_banks({expert.card.id: bank}, path)
    write_card(expert.card.model_copy(update={"feature_bank": weights_of(path, "float16")}), expert.path)


def _write(
    card: GateCard,
    refs: tuple[ExpertRef, ...],
    state: dict[str, Tensor],
    banks: dict[str, GateInput] | None,
) -> Path:
    """Write a gate's folder, whole or not at all."""
    folder = user_folder() / card.id
    make_folder(folder.parent)
    with new_folder(folder) as new:
        weights, bank = new / WEIGHTS, new / BANK
        save_weights(state, weights)
        named: dict[str, Any] = {"weights": weights_of(weights), "feature_bank": None}
        if banks is not None:
            save_banks(banks, bank)
            named["feature_bank"] = weights_of(bank, "float16")
        write_card(card.model_copy(update={**_over(card, refs), **named}), new / CARD)
    return folder
