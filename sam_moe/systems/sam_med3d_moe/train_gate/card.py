"""What a gate's training made becomes a folder: weights, card, curve, and a bank of what the gate saw."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from sam_moe.files import sha256_of
from sam_moe.moe.gate import Gate
from sam_moe.moe.names import Fusion
from sam_moe.moe.selection import confidence_of
from sam_moe.registry import (
    CARD,
    Base,
    ExpertRef,
    GateCard,
    Measurement,
    Weights,
    write_card,
)
from sam_moe.registry.gate import card_fields
from sam_moe.systems.sam_med3d_moe.cards.mixture import selection_of
from sam_moe.systems.sam_med3d_moe.gate import GateInput, sizes_of_gate
from sam_moe.systems.sam_med3d_moe.train_gate.figures import figures
from sam_moe.systems.sam_med3d_moe.train_gate.fitting import Tables, logits_of
from sam_moe.systems.sam_med3d_moe.train_gate.settings import GateWords
from sam_moe.systems.sam_med3d_moe.train_gate.table import GateTable
from sam_moe.systems.sam_med3d_moe.train_gate.threshold import choose, curve, write_curve
from sam_moe.training.recipes.card import Provenance, save_named
from sam_moe.weights.files import WEIGHTS, read_state, save_weights

log = logging.getLogger(__name__)

BANK = "bank.safetensors"
# Prompts of an expert that are kept, and of the general one, which stands for all the rest.
BANK_ROWS = 64
GENERAL_ROWS = 256

_ASKED = "clicks, boxes and two corrections; own expert's answer corrected"
# The rule whose threshold is chosen on the validation table.
_TUNED = "threshold"


class TrainedGate(NamedTuple):
    """A gate with the weights that are kept, and the step that they are of."""

    gate: Gate
    step: int


@dataclass(frozen=True)
class Choosing:
    """How a gate chooses by its confidence, and what the choice of its threshold may cost.

    Args:
        rule: its name: a module of `sam_moe.moe.rules`, or another package's.
        settings: of the rule, by name; the threshold of 'threshold' is chosen on the validation table.
        fusion: how several answers are joined.
        most_drop: Dice that a general structure may lose.
    """

    rule: str = _TUNED
    settings: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    fusion: Fusion = "logits"
    most_drop: float = 0.005


def ship_gate(
    trained: TrainedGate,
    folder: Path,
    words: GateWords,
    experts: tuple[ExpertRef, ...],
    tables: Tables,
    choosing: Choosing,
    provenance: Provenance,
) -> GateCard:
    """Choose the threshold, write weights, curve, bank and card, and return the card.

    `experts` are the gate's columns, the backbone itself first.
    """
    gate, step = trained
    validation, measured_on = tables.validation, provenance.measured_on
    tuned, settings = choosing.rule == _TUNED, dict(choosing.settings)
    confidence = confidence_of(logits_of(gate, validation))
    points = curve(confidence, validation)
    choice = choose(points, choosing.most_drop)
    if tuned:
        settings["tau"] = choice.threshold
        if not choice.kept:
            log.warning("%s", choice.why)
    write_curve(points, choice, choosing.most_drop, folder)
    path = folder / WEIGHTS
    save_named(gate.state_dict(), path, {"step": str(step)})
    ids = [expert.id for expert in experts]
    save_banks({id: bank_of(tables.train, owner) for owner, id in enumerate(ids)}, folder / BANK)
    card = GateCard(
        **words.model_dump(),
        base=Base(id=experts[0].id, sha256=experts[0].sha256),
        experts=experts,
        architecture=sizes_of_gate(gate),
        **card_fields(choosing.rule, settings),
        fusion=choosing.fusion,
        weights=weights_of(path),
        feature_bank=weights_of(folder / BANK, "float16"),
        made_by=provenance.made_by,
        curve=points if tuned else (),  # no others are what the gate does
    )
    rule = selection_of(card)
    asked = f"step {step}; {rule.describe(ids)}; {_ASKED}"
    found = figures(confidence, validation, rule, choosing.fusion).measurements(measured_on, asked)
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
