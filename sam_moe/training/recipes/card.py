"""What a training made becomes a model that `sam_moe.load` takes: weights and a card in the run's folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from sam_moe.errors import ConfigError
from sam_moe.files import replacing, sha256_of, withdraw
from sam_moe.registry import (
    CARD,
    Architecture,
    BackboneCard,
    MadeBy,
    Measurement,
    Preprocessing,
    Weights,
    write_card,
)
from sam_moe.training.engine.best import Kept
from sam_moe.training.recipes.settings import CardRecipe, Store
from sam_moe.weights.files import WEIGHTS, write_weights

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


@dataclass(frozen=True)
class Provenance:
    """How a result was made, and the data that its figures were measured on."""

    made_by: MadeBy
    measured_on: str


def ship(
    kept: Kept,
    folder: Path,
    words: CardRecipe,
    architecture: Architecture,
    preprocessing: Preprocessing,
    provenance: Provenance,
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
        made_by=provenance.made_by,
        measured=measurements(kept, provenance.measured_on),
    )
    write_card(card, folder / CARD)
    return folder / WEIGHTS


def store_weights(kept: Kept, folder: Path, store: Store) -> Weights:
    """Write `model.safetensors` in the precision `store` and return the card's entry for the file.

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
