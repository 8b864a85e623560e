"""What a finished training leaves: weights with references of its data sets, and their card."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from sam_moe.errors import ConfigError
from sam_moe.files import sha256_of
from sam_moe.registry import CARD, AutomaticCard, DataSet, MadeBy, Measurement, Weights, write_card
from sam_moe.slices.glance import glance_at
from sam_moe.systems.m4oe.automatic import AutomaticM4oE
from sam_moe.systems.m4oe.model import M4oE
from sam_moe.systems.m4oe.references import MEAN, PRECISION, distance, far_of, left_out, reference
from sam_moe.systems.m4oe.train.settings import M4oERecipe
from sam_moe.systems.m4oe.train.validation import ScansValidation
from sam_moe.training.engine.machines import hardware, machines
from sam_moe.training.engine.runlog import hours_of, read_rows
from sam_moe.training.recipes.card import save_named
from sam_moe.training.slices.cache import SliceCache
from sam_moe.weights.files import WEIGHTS


def ship(recipe: M4oERecipe, model: M4oE, train: SliceCache, validation: SliceCache, command: str) -> Path:
    """Write `model.safetensors` and `card.json` into the run's folder; the path of the weights.

    Figures are those of the rounded weights, routed by the gates, on whole validation scans.

    Raises:
        ConfigError: for a weight too large for the numbers that the recipe stores.
    """
    model.cpu()  # where scans are
    weights = _stored(model, recipe)
    model.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    tensors, sets = _references(model, recipe.sets, train, validation)
    path = recipe.run / WEIGHTS
    save_named(weights | tensors, path)
    figures = ScansValidation(model, validation.wholes, recipe.sets, known=False)(dict(model.state_dict()))
    card = AutomaticCard(
        **recipe.card.model_dump(exclude={"attribution"}),
        attribution=recipe.card.attribution,
        system="m4oe",
        architecture=recipe.architecture,
        mixture=recipe.mixture,
        sets=sets,
        weights=Weights(
            file=WEIGHTS, sha256=sha256_of(path), size_bytes=path.stat().st_size, dtype=recipe.store
        ),
        made_by=_made_by(recipe, command),
        measured=_measured(figures, recipe.sets, validation),
    )
    write_card(card, recipe.run / CARD)
    return path


def _stored(model: M4oE, recipe: M4oERecipe) -> dict[str, Tensor]:
    kind = getattr(torch, recipe.store)
    weights = {
        name: tensor.to(kind) if tensor.is_floating_point() else tensor
        for name, tensor in model.state_dict().items()
    }
    if large := [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]:
        raise ConfigError(f"{', '.join(large)} does not fit into {recipe.store}. Set `store: float32`.")
    return weights


def _references(
    model: M4oE, sets: Sequence[DataSet], train: SliceCache, validation: SliceCache
) -> tuple[dict[str, Tensor], tuple[DataSet, ...]]:
    """For each data set mean and precision of its training scans' profiles, and beyond what a scan is far.

    `far` is the distance that 95 % keep within, of the training scans, each held against all others, and of
    the validation scans, whichever is larger; unknown where a set has one scan in all. A model whose gates
    learnt nothing has no profile, so no references.
    """
    if not any(parameter.any() for site in model.sites().values() for parameter in site.gate.parameters()):
        return {}, tuple(sets)
    network = AutomaticM4oE(model, tuple(sets), {})
    tensors: dict[str, Tensor] = {}
    found = []
    for number, each in enumerate(sets):
        own = profiles(network, train, number)
        mean, precision = reference(own)
        tensors[MEAN.format(each.id)], tensors[PRECISION.format(each.id)] = mean, precision
        others = [distance(row, mean, precision) for row in profiles(network, validation, number)]
        far = max(far_of(part) for part in (left_out(own), others, [0.0]) if part)
        found.append(each.model_copy(update={"far": float(f"{far:.4g}") or None}))
    return tensors, tuple(found)


@torch.no_grad()
def profiles(network: AutomaticM4oE, cache: SliceCache, data_set: int) -> Tensor:
    """The mean profile of each of a data set's scans, one a row."""
    rows = [
        network.look(glance_at(whole.stack.array)).mean(dim=0)
        for whole in cache.wholes()
        if whole.set == data_set
    ]
    return torch.stack(rows) if rows else torch.zeros(0, 1)


def _made_by(recipe: M4oERecipe, command: str) -> MadeBy:
    folders = [recipe.run / f"{n}-{each.phase}" for n, each in enumerate(recipe.phases, start=1)]
    hours = sum(
        hours_of(read_rows(folder), each.schedule.batch_size)
        for folder, each in zip(folders, recipe.phases, strict=True)
    )
    where = dict.fromkeys(name for folder in folders for name in machines(folder))
    roots = [source.root for each in recipe.data.sets.values() for source in each.train]
    return MadeBy(
        command=command,
        seeds=(recipe.seed,),
        hours=round(hours, 4),
        hardware="; ".join(where) or hardware(1),
        data=tuple(dict.fromkeys(roots)),
    )


def _measured(
    figures: dict[str, float], sets: Sequence[DataSet], validation: SliceCache
) -> tuple[Measurement, ...]:
    rows = []
    for number, each in enumerate(sets):
        cases = [case for case in validation.cases if case.set == number]
        for place, label in enumerate(each.labels, start=1):
            name = f"{each.id}/{label.name}"
            if name in figures:
                rows.append(
                    Measurement(
                        metric="Dice",
                        value=figures[name],
                        data=f"validation scans of {each.id}",
                        protocol=f"{label.name}; without a prompt, routed by the gates; on the prepared grid",
                        cases=sum(case.contoured[place] for case in cases),
                    )
                )
    return tuple(rows)
