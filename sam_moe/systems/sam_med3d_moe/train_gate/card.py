"""What a gate's training made becomes a folder: weights, card, curve, and a bank of what the gate saw."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from sam_moe.moe.fusion import Fusion
from sam_moe.moe.gate import Gate
from sam_moe.moe.selection import confidence_of
from sam_moe.registry import (
    CARD,
    Base,
    ExpertRef,
    GateCard,
    MadeBy,
    Measurement,
    Weights,
    write_card,
)
from sam_moe.systems.sam_med3d_moe.cards.mixture import selection_of
from sam_moe.systems.sam_med3d_moe.gate import GateInput, sizes_of_gate
from sam_moe.systems.sam_med3d_moe.train_gate.figures import figures
from sam_moe.systems.sam_med3d_moe.train_gate.fitting import logits_of
from sam_moe.systems.sam_med3d_moe.train_gate.table import GateTable
from sam_moe.systems.sam_med3d_moe.train_gate.threshold import choose, curve, write_curve
from sam_moe.training.recipes.card import WEIGHTS, Naming, save_named
from sam_moe.weights.checksums import sha256_of
from sam_moe.weights.files import read_state, save_weights

log = logging.getLogger(__name__)

BANK = "bank.safetensors"
# Prompts of an expert that are kept, and of the general one, which stands for all the rest.
BANK_ROWS = 64
GENERAL_ROWS = 256

Selected = Literal["threshold", "top_k", "argmax", "dense"]

_ASKED = "clicks, boxes and two corrections; own expert's answer corrected"
_HOW: dict[Selected, str] = {
    "threshold": "threshold {0.threshold:g}",
    "top_k": "the {0.k} surest",
    "argmax": "the surest",
    "dense": "all by confidence",
}


class GateWords(Naming):
    """What a gate's card says that no training can know; whom to credit, its experts' cards say."""

    not_for: str = Field("", description="What it must not be used for, beyond what its experts say.")


def ship_gate(
    gate: Gate,
    step: int,
    folder: Path,
    words: GateWords,
    base: Base,
    experts: tuple[ExpertRef, ...],
    train: GateTable,
    validation: GateTable,
    made_by: MadeBy,
    selection: Selected,
    k: int | None,
    fusion: Fusion,
    most_drop: float,
    measured_on: str,
) -> GateCard:
    """Choose the threshold, write weights, curve, bank and card, and return the card."""
    confidence = confidence_of(logits_of(gate, validation))
    points = curve(confidence, validation)
    choice = choose(points, most_drop)
    if selection == "threshold" and not choice.kept:
        log.warning("%s", choice.why)
    write_curve(points, choice, most_drop, folder)
    path = folder / WEIGHTS
    save_named(gate.state_dict(), path, {"step": str(step)})
    ids = [expert.id for expert in experts]
    save_banks({id: bank_of(train, owner) for owner, id in enumerate(ids)}, folder / BANK)
    card = GateCard(
        **words.model_dump(),
        base=base,
        experts=experts,
        architecture=sizes_of_gate(gate),
        selection=selection,
        threshold=choice.threshold if selection == "threshold" else None,
        k=k,
        fusion=fusion,
        weights=weights_of(path),
        feature_bank=weights_of(folder / BANK, "float16"),
        made_by=made_by,
        curve=points if selection == "threshold" else (),  # no others are what the gate does
    )
    asked = f"step {step}; {_HOW[selection].format(card)}; {_ASKED}"
    found = figures(confidence, validation, selection_of(card), fusion).measurements(measured_on, asked)
    if card.threshold is not None:
        why = f"step {step}; {choice.why}"
        chosen = Measurement(metric="threshold", value=card.threshold, data=measured_on, protocol=why)
        found = (*found, chosen)
    card = card.model_copy(update={"measured": found})
    write_card(card, folder / CARD)
    return card


def weights_of(path: Path, dtype: Literal["float32", "float16"] = "float32") -> Weights:
    """How a card names a file of numbers beside it."""
    return Weights(file=path.name, sha256=sha256_of(path), size_bytes=path.stat().st_size, dtype=dtype)


def bank_of(table: GateTable, owner: int) -> GateInput:
    """Up to `BANK_ROWS` of an owner's rows, or `GENERAL_ROWS`, evenly over all it has."""
    rows, most = (table.owner == owner).nonzero()[:, 0], BANK_ROWS if owner else GENERAL_ROWS
    if len(rows) > most:
        rows = rows[torch.linspace(0, len(rows) - 1, most).round().long()]
    return GateInput(*(part[rows] for part in table.seen))


def save_banks(banks: Mapping[str, GateInput], path: Path) -> None:
    """Write what a gate saw of some prompts, by the id of the expert that they are for, in float16."""
    tensors = {f"{id}/{part}": t.half() for id, bank in banks.items() for part, t in bank._asdict().items()}
    save_weights(tensors, path, {"ids": ",".join(banks)})


def load_banks(path: Path) -> dict[str, GateInput]:
    """Read what `save_banks` wrote."""
    found: dict[str, dict[str, Tensor]] = {}
    for name, tensor in read_state(path).items():
        id, _, part = name.rpartition("/")
        found.setdefault(id, {})[part] = tensor.float()
    return {id: GateInput(**parts) for id, parts in found.items()}
