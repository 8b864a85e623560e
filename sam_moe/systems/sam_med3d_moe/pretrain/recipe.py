"""`sam-moe pretrain RECIPE.yaml`: from a data folder to a backbone with its card, resumable at every step."""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sam_moe.config import explain, load_settings
from sam_moe.errors import ConfigError
from sam_moe.files import make_folder, replace_text
from sam_moe.progress import Progress, silent
from sam_moe.registry import BackboneCard
from sam_moe.systems.sam_med3d_moe.cards.backbone import LoadedBase, load_base
from sam_moe.systems.sam_med3d_moe.pretrain.prepared import PLAN, START, Plan, train_prepared
from sam_moe.systems.sam_med3d_moe.pretrain.settings import PretrainRecipe
from sam_moe.training.engine.best import BEST
from sam_moe.training.engine.machines import processes
from sam_moe.training.recipes.card import Provenance, ship
from sam_moe.training.recipes.run import Command, check_folder, made_by, write_recipe
from sam_moe.training.recipes.scans import check_scans, keep_scans, learnt_ranges
from sam_moe.weights.files import WEIGHTS, read_metadata, save_weights

log = logging.getLogger(__name__)

# What only a training that was begun leaves in a run's folder.
CHECKPOINTS = ("checkpoint", "checkpoint.old", BEST)


def pretrain(
    recipe_path: Path,
    overrides: Sequence[str] = (),
    progress: Progress = silent,
    prepare: bool = False,
) -> Path:
    """Follow a recipe and return the path of the trained weights, `run/model.safetensors`.

    They are the averaged weights of the best validation, with `run/card.json` beside them, so that
    `sam_moe.load(run)` works. What ran is written to `run/recipe.yaml`; started again on the same folder, it
    goes on where it stopped. `progress` is given the share of the training that is done.
    With `prepare` it returns the folder instead, before the training: `python -m sam_moe.training.bare` goes
    on there, on a machine without data and without most packages.

    Raises:
        ConfigError: for a recipe that cannot be followed.
        CardError: for a `start` that is no general model.
        FileError: where the run's folder cannot be written, or is full.
    """
    recipe = load_settings(PretrainRecipe, recipe_path, overrides)
    check_folder(recipe.run)
    parts = ("train", "validation") if recipe.validation_crops else ("train",)
    check_scans(recipe.data, parts, recipe.run)
    start = None if recipe.start is None else load_base(recipe.start)
    recipe = recipe if start is None else _going_on(recipe, start.entry.card)
    assert recipe.architecture is not None and recipe.preprocessing is not None
    _begin(recipe.run, start)
    for part in parts:
        keep_scans(recipe.data, part, recipe.run, leave_out=recipe.data.leave_out)
    write_recipe(recipe, recipe.run)  # not before: a start that finds no data is none to go on from
    replace_text(recipe.run / PLAN, json.dumps(asdict(_plan(recipe, start)), indent=2) + "\n")
    if prepare:
        return recipe.run
    kept = train_prepared(recipe.run, lambda row: progress("training", row["step"] / row["steps"]))
    together = processes()
    path = recipe.run / WEIGHTS
    if together.is_main_process:
        log.info("shipping the weights of step %d of %d", kept.step, recipe.schedule.steps)
        made = made_by(Command("pretrain", recipe_path, overrides), recipe, together.num_processes)
        regions = f"{recipe.validation_crops} regions of the validation part of {recipe.data.splits.name}"
        card, provenance = recipe.card, Provenance(made, regions)
        path = ship(
            kept, recipe.run, card, recipe.architecture, recipe.preprocessing, provenance, recipe.store
        )
    together.wait_for_everyone()
    return path


def _going_on(recipe: PretrainRecipe, card: BackboneCard) -> PretrainRecipe:
    """The recipe with what it leaves to the card of the model that it goes on from."""
    if recipe.card.id == card.id:  # else the new model would pass for the old one
        raise ConfigError(f"card.id: {card.id!r} is the start's; give the new model one of its own.")
    if recipe.architecture not in (None, card.architecture):
        raise ConfigError(
            f"architecture: is not that of {recipe.start}, whose weights fit no other. Leave it out."
        )
    fields: dict[str, Any] = {"architecture": card.architecture}
    if recipe.preprocessing is None:
        fields["preprocessing"] = card.preprocessing
    if "default_box_strategy" not in recipe.card.model_fields_set:
        strategy = {"default_box_strategy": card.default_box_strategy}
        fields["card"] = recipe.card.model_copy(update=strategy)
    try:
        return PretrainRecipe.model_validate({**dict(recipe), **fields})
    except ValidationError as error:
        raise ConfigError(explain(error, PretrainRecipe, f"the recipe with start {recipe.start}")) from error


def _begin(run: Path, start: LoadedBase | None) -> None:
    """Put the model to go on from into the run's folder; what was begun from another is not gone on with."""
    sha256 = None if start is None else start.sha256
    if (run / PLAN).is_file() and any((run / name).exists() for name in CHECKPOINTS):
        known = json.loads((run / PLAN).read_text(encoding="utf-8")).get("start")
        if known != sha256:
            raise ConfigError(
                f"{run}: was begun from {_named(known)}, and `start` now gives {_named(sha256)}. Name "
                "another folder, or delete this one to begin anew."
            )
    make_folder(run)
    path = run / START
    if start is not None and not (path.is_file() and read_metadata(path).get("fingerprint") == sha256):
        save_weights(start.model.state_dict(), path, {"fingerprint": start.sha256})


def _named(sha256: str | None) -> str:
    return "nothing" if sha256 is None else f"a model with the fingerprint {sha256}"


def _plan(recipe: PretrainRecipe, start: LoadedBase | None) -> Plan:
    """What the training itself takes of a recipe."""
    assert recipe.architecture is not None and recipe.preprocessing is not None
    return Plan(
        architecture=recipe.architecture,
        schedule=recipe.schedule.schedule(),
        normalisation=recipe.preprocessing.normalisation,
        seed=recipe.seed,
        weights=recipe.data.weights,
        phantom_share=recipe.data.phantom_share,
        spoil_share=recipe.data.spoil_share,
        curriculum=recipe.data.curriculum,
        targets=recipe.targets,
        corrections=recipe.corrections,
        validation_crops=recipe.validation_crops,
        validate_every=recipe.validate_every,
        workers=recipe.workers,
        tracker=recipe.tracker,
        precision=recipe.precision,
        box_strategy=recipe.card.default_box_strategy,
        ranges=learnt_ranges(recipe.preprocessing),
        start=None if start is None else start.sha256,
    )
