"""`sam-moe pretrain RECIPE.yaml`: from a data folder to a backbone with its card, resumable at every step."""

import hashlib
import json
import logging
import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from accelerate import PartialState
from pydantic import Field, model_validator

from sam_moe.config import Record, Settings, dump_settings, load_settings, replace_file
from sam_moe.errors import ConfigError
from sam_moe.registry import Architecture, MadeBy, Preprocessing
from sam_moe.training.bare import PLAN, Plan, cache_path, follow
from sam_moe.training.cache import cache_origin, cached_sets, write_cache
from sam_moe.training.card import WEIGHTS, CardRecipe, Store, ship
from sam_moe.training.conversation import DEPTHS
from sam_moe.training.machines import hardware, machines
from sam_moe.training.precision import Precision
from sam_moe.training.runlog import Row, hours_of, read_rows
from sam_moe.training.sources import read_folder

log = logging.getLogger(__name__)

RECIPE = "recipe.yaml"


class DataRecipe(Record):
    """What is learnt from."""

    folder: Path = Field(description="Folder of data sets, each with a dataset.json; from where you stand.")
    splits: Path = Field(description="Splits file naming the cases of each part; from where you stand.")
    leave_out: tuple[str, ...] = Field((), description="Structures never to learn, by name or 'set/name'.")
    weights: dict[str, float] = Field({}, description="How often each set is drawn, relative to the others.")
    phantom_share: float = Field(0.1, ge=0, le=1, description="Share of procedural phantoms in the stream.")
    spoil_share: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Share of the regions with a scanner's faults: noise, bias, thick slices.",
    )
    curriculum: int = Field(0, ge=0, description="Samples at the start of which half are phantoms.")


class ScheduleRecipe(Record):
    """How long and how fast; see `training.loop.Schedule`."""

    steps: int = Field(gt=0, description="Optimiser steps.")
    batch_size: int = Field(4, gt=0, description="Regions per step and process.")
    learning_rate: float = Field(1e-3, gt=0, description="At the plateau.")
    warmup: int = Field(200, ge=0, description="Steps of linear warm-up.")
    decay: float = Field(0.4, gt=0, le=1, description="Share of the steps in which the rate falls to 0.")
    average: float = Field(0.998, ge=0, lt=1, description="Decay of the averaged weights.")
    save_every: int = Field(100, gt=0, description="Steps between checkpoints.")


class PretrainRecipe(Settings):
    """A small general model, from nothing. Paths are relative to the folder the command is given in."""

    run: Path = Field(description="Folder for log, checkpoints and the result; from where you stand.")
    seed: int = Field(0, description="Of initial weights and of the stream of samples.")
    card: CardRecipe = Field(description="What the model's card says beside what the training knows.")
    architecture: Architecture
    preprocessing: Preprocessing
    data: DataRecipe
    schedule: ScheduleRecipe
    targets: int = Field(2, gt=0, description="Structures asked for in each region, encoded once for all.")
    corrections: tuple[float, ...] = Field(
        DEPTHS, min_length=1, description="How likely an answer is followed by 0, 1, 2, … correcting clicks."
    )
    validation_crops: int = Field(96, ge=0, description="Regions of the validation part; 0 for none.")
    validate_every: int = Field(500, gt=0, description="Steps between validations; the best is kept.")
    workers: int = Field(1, ge=0, description="Processes that cut regions.")
    precision: Precision = Field(
        "auto", description="Numbers to compute in; auto is bfloat16 where that is quicker, else float32."
    )
    tracker: str | None = Field(None, description="An Accelerate tracker: tensorboard, wandb, …")
    store: Store = Field("float16", description="How the result's numbers are stored.")

    @model_validator(mode="after")
    def _fits(self) -> "PretrainRecipe":
        size, region = self.architecture.image_size, self.preprocessing.region_voxels
        if region != size:
            raise ValueError(
                f"preprocessing.region_voxels {region} must equal architecture.image_size {size}"
            )
        if not self.architecture.corner_embeddings:
            raise ValueError("architecture.corner_embeddings must be true: boxes are taught by their corners")
        if self.architecture.patch_size % 4:
            raise ValueError(
                f"architecture.patch_size {self.architecture.patch_size} must be a multiple of 4, as answers "
                "have four voxels for each patch"
            )
        return self


def pretrain(
    recipe_path: Path,
    overrides: Sequence[str] = (),
    report: Callable[[Row], None] | None = None,
    prepare: bool = False,
) -> Path:
    """Follow a recipe and return the path of the trained weights, `run/model.safetensors`.

    They are the averaged weights of the best validation, with `run/card.json` beside them, so that
    `sam_moe.load(run)` works. What ran is written to `run/recipe.yaml`; started again on the same folder, it
    goes on where it stopped. `report` is given every row of `run/log.jsonl`, with `steps` for the total.
    With `prepare` it returns the folder instead, before the training: `python -m sam_moe.training.bare` goes
    on there, on a machine without data and without most packages.

    Raises:
        ConfigError: for a recipe that cannot be followed.
    """
    recipe = load_settings(PretrainRecipe, recipe_path, overrides)
    recipe.run.mkdir(parents=True, exist_ok=True)
    _write_recipe(recipe)
    count = recipe.validation_crops
    for part in ("train", "validation") if count else ("train",):
        _cache(recipe, part)
    replace_file(recipe.run / PLAN, json.dumps(asdict(_plan(recipe)), indent=2) + "\n")
    if prepare:
        return recipe.run
    kept = follow(recipe.run, report)
    processes = PartialState()  # Accelerate's; exists since `train` at the latest
    path = recipe.run / WEIGHTS
    if processes.is_main_process:
        log.info("shipping the weights of step %d of %d", kept.step, recipe.schedule.steps)
        per_step = recipe.schedule.batch_size * processes.num_processes
        changes = [part for change in overrides for part in ("--set", change)]
        made_by = MadeBy(
            command=shlex.join(["sam-moe", "pretrain", str(recipe_path), *changes]),
            seeds=(recipe.seed,),
            hours=round(hours_of(read_rows(recipe.run), per_step), 3),
            hardware="; ".join(machines(recipe.run)) or hardware(processes.num_processes),
            data=cached_sets(cache_path(recipe.run, "train")),
        )
        path = ship(
            kept,
            recipe.run,
            recipe.card,
            recipe.architecture,
            recipe.preprocessing,
            made_by,
            f"{count} regions of the validation part of {recipe.data.splits.name}",
            recipe.store,
        )
    processes.wait_for_everyone()
    return path


def _write_recipe(recipe: PretrainRecipe) -> None:
    """Write what runs; say so when the folder was begun by another recipe."""
    path = recipe.run / RECIPE
    if path.is_file():
        try:
            before = load_settings(PretrainRecipe, path)
        except ConfigError as error:  # written by another version, or by hand: no reason not to go on
            log.warning("overwriting a recipe that is not understood: %s", error)
        else:
            keys = PretrainRecipe.model_fields
            if changed := [key for key in keys if getattr(before, key) != getattr(recipe, key)]:
                log.warning("going on in %s with changes to: %s", path.parent, ", ".join(changed))
    dump_settings(recipe, path)


def _plan(recipe: PretrainRecipe) -> Plan:
    """What the training itself takes of a recipe."""
    return Plan(
        architecture=recipe.architecture.model_dump(),
        schedule=recipe.schedule.model_dump(),
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
    )


def _cache(recipe: PretrainRecipe, part: str) -> None:
    """Read the cases of one part into a cache file in the run's folder, unless they are there.

    Where neither data folder nor splits file are, a cache that was taken along serves as it is.
    """
    data, path = recipe.data, cache_path(recipe.run, part)
    found = cache_origin(path)
    splits = data.splits.read_bytes() if data.splits.is_file() else b""
    asked = {"leave_out": sorted(data.leave_out), "splits": hashlib.sha256(splits).hexdigest()}
    if path.is_file() and not data.folder.is_dir() and not data.splits.is_file():
        known = json.loads(found or "{}")
        if found is not None and known.get("leave_out") != asked["leave_out"]:
            raise ConfigError(
                f"{path} was read with other structures left out, or none knows with which, and there is no "
                f"{data.folder} to read them again from. Bring the data, or a cache made by this recipe."
            )
    elif found != json.dumps(asked):
        log.info("reading the %s part of %s", part, data.folder)
        cases = read_folder(data.folder, data.splits, part, frozenset(data.leave_out))
        write_cache(cases, path, json.dumps(asked))
