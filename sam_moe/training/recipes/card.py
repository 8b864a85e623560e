"""What a training made becomes a model that `sam_moe.load` takes: weights and a card in the run's folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field
from safetensors import SafetensorError
from torch import Tensor

from sam_moe.config import Record
from sam_moe.errors import ConfigError
from sam_moe.files import replacing, sha256_of, withdraw
from sam_moe.registry import (
    CARD,
    Architecture,
    Attribution,
    BackboneCard,
    MadeBy,
    Measurement,
    Preprocessing,
    Weights,
    write_card,
)
from sam_moe.training.engine.loop import Kept
from sam_moe.weights.files import write_weights

WEIGHTS = "model.safetensors"

Store = Literal["float32", "float16"]

# Whose figures they are, where they are not the trained one's.
ITSELF = "the general model {} itself"
_DECIDED = "; decided the step"
_OVERALL = "mean over all ways to ask and all rounds"
_ASKED = {
    "click": "a click",
    "corners": "a box by its corners",
    "mask": "a box drawn as a mask",
    "center": "a box by its middle",
}


class Naming(Record):
    """What any card says that no training can know."""

    id: str = Field(
        pattern="^[a-z0-9][a-z0-9._-]*$", description="Name of the card; of its folder too, once it ships."
    )
    title: str = Field(min_length=1, description="One line for a list.")
    description: str = Field("", description="What it is good at; a gate, what it chooses between.")
    licence: str = Field(min_length=1, description="SPDX identifier of the weights' own licence.")


class Words(Naming):
    """What the card of a model says beside that, a general one's or an expert's."""

    attribution: tuple[Attribution, ...] = Field((), description="Whom to credit: the sets learnt from.")
    not_for: str = Field(min_length=1, description="What it must not be used for.")


class CardRecipe(Words):
    """What a backbone's card says that no training can know."""

    default_box_strategy: Literal["center", "mask", "corners"] = Field(
        "mask", description="How a box is lowered unless told otherwise."
    )


def ship(
    kept: Kept,
    folder: Path,
    words: CardRecipe,
    architecture: Architecture,
    preprocessing: Preprocessing,
    made_by: MadeBy,
    measured_on: str,
    store: Store = "float16",
) -> Path:
    """Write `model.safetensors` and `card.json`, and return the path of the weights.

    Figures are those of the weights before they were rounded to `store`.

    Raises:
        ConfigError: for a weight too large for float16.
    """
    weights = store_weights(kept, folder, store)
    card = BackboneCard(
        **words.model_dump(exclude={"attribution"}),
        attribution=words.attribution,
        architecture=architecture,
        preprocessing=preprocessing,
        weights=weights,
        made_by=made_by,
        measured=measurements(kept, measured_on),
    )
    write_card(card, folder / CARD)
    return folder / WEIGHTS


def store_weights(kept: Kept, folder: Path, store: Store) -> Weights:
    """Write `model.safetensors` in the precision asked for, and return what a card says of the file.

    Raises:
        ConfigError: for a weight too large for float16.
    """
    weights = {
        name: tensor.to(getattr(torch, store)) if tensor.is_floating_point() else tensor
        for name, tensor in kept.weights.items()
    }
    large = [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]
    if large:
        raise ConfigError(f"{', '.join(large)} does not fit into {store}. Set `store: float32`.")
    path = folder / WEIGHTS
    save_named(weights, path, {"step": str(kept.step)})
    return Weights(file=WEIGHTS, sha256=sha256_of(path), size_bytes=path.stat().st_size, dtype=store)


def save_named(state: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write weights that the card beside them is to name; one that names others is withdrawn before.

    Raises:
        FileError: where they cannot be written; then weights and card stay as they were.
    """
    with replacing(path, (SafetensorError,)) as new:
        write_weights(state, new, metadata)
        if not path.is_file() or sha256_of(new) != sha256_of(path):
            withdraw(path.parent / CARD)


def measurements(kept: Kept, data: str, whose: str = "") -> tuple[Measurement, ...]:
    """Validation figures as a card lists them; the score is their mean. `whose` they are, if not `kept`'s."""
    who = whose or f"step {kept.step}"
    rows = []
    for name, value in kept.figures.items():
        way, turn = name[:-1], name[-1]
        if way in _ASKED:
            more = f", then {int(turn) - 1} correcting clicks" if turn != "1" else ""
            protocol = f"{who}; asked by {_ASKED[way]}{more}; mean over regions"
        else:
            protocol = f"{who}; {_OVERALL}" + ("" if whose else _DECIDED)
        rows.append(Measurement(metric="Dice", value=value, data=data, protocol=protocol))
    return tuple(rows)


def held_against(measured: Sequence[Measurement], base: str) -> dict[str, tuple[float, float]]:
    """By how was asked, an expert's Dice and that of its general model, out of its card's `measurements`.

    The mean over all ways, which is under "mean", comes last. Empty where nothing was held against it.
    """
    own: dict[str, float] = {}
    general: dict[str, float] = {}
    for row in measured:
        who, _, how = row.protocol.removesuffix(_DECIDED).partition("; ")
        if row.metric == "Dice" and how:
            name = (
                "mean"
                if how == _OVERALL
                else how.removeprefix("asked by ").removesuffix("; mean over regions")
            )
            (general if who == ITSELF.format(base) else own)[name] = row.value
    return {how: (own[how], general[how]) for how in own if how in general}
