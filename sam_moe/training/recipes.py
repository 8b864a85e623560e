"""`sam-moe pretrain RECIPE.yaml`: from a data folder to a backbone with its card, resumable at every step."""

import hashlib
import json
import logging
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from accelerate import PartialState
from pydantic import Field, model_validator

from sam_moe.config import Record, Settings, dump_settings, load_settings
from sam_moe.errors import ConfigError
from sam_moe.registry import Architecture, MadeBy, Preprocessing
from sam_moe.sam3d.sizes import Sizes
from sam_moe.training.card import WEIGHTS, CardRecipe, Store, hardware, ship
from sam_moe.training.general import DEPTHS, PromptedLoss, Regions, fresh_model
from sam_moe.training.loop import Schedule, train
from sam_moe.training.runlog import Row, hours_of, read_rows
from sam_moe.training.sources import Scan, cache_origin, read_cache, read_folder, write_cache
from sam_moe.training.validation import Validation

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
) -> Path:
    """Follow a recipe and return the path of the trained weights, `run/model.safetensors`.

    They are the averaged weights of the best validation, with `run/card.json` beside them, so that
    `sam_moe.load(run)` works. What ran is written to `run/recipe.yaml`; started again on the same folder, it
    goes on where it stopped. `report` is given every row of `run/log.jsonl`, with `steps` for the total.

    Raises:
        ConfigError: for a recipe that cannot be followed.
    """
    recipe = load_settings(PretrainRecipe, recipe_path, overrides)
    recipe.run.mkdir(parents=True, exist_ok=True)
    _write_recipe(recipe)
    scans = _scans(recipe, "train")
    if not scans and recipe.data.phantom_share < 1:
        raise ConfigError(
            f"{recipe.data.splits}: the train part holds no structure to learn. Name cases there, or set "
            "data.phantom_share to 1 to learn from phantoms alone."
        )
    groups = sorted({scan.group for scan in scans})
    if unknown := sorted(set(recipe.data.weights) - set(groups)):
        log.warning("data.weights names sets without a case to learn from: %s", ", ".join(unknown))
    sizes = Sizes(**recipe.architecture.model_dump())
    model = fresh_model(sizes, recipe.seed)
    normalisation = recipe.preprocessing.normalisation
    stream = Regions(
        scans,
        sizes.image_size,
        recipe.seed + 1,
        10**9,
        recipe.data.weights,
        recipe.data.phantom_share,
        recipe.data.curriculum,
        spoil_share=recipe.data.spoil_share,
        normalisation=normalisation,
        targets=recipe.targets,
    )
    count = recipe.validation_crops
    kept = train(
        PromptedLoss(model, recipe.corrections),
        model,
        stream,
        Schedule(**recipe.schedule.model_dump()),
        recipe.run,
        recipe.seed + 1,
        recipe.workers,
        Validation(lambda: _scans(recipe, "validation"), sizes, count, normalisation) if count else None,
        recipe.validate_every,
        recipe.tracker,
        report,
    )
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
            hardware=hardware(processes.num_processes),
            data=tuple(groups),
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


def _scans(recipe: PretrainRecipe, part: str) -> list[Scan]:
    """The cases of one part, through a cache file in the run's folder that is read again when stale.

    Where neither data folder nor splits file are, a cache that was taken along serves as it is.
    """
    data, cache = recipe.data, recipe.run / f"{part}.safetensors"
    found = cache_origin(cache)
    taken_along = found is not None and not data.folder.is_dir() and not data.splits.is_file()
    splits = data.splits.read_bytes() if data.splits.is_file() else b""
    asked = {"leave_out": sorted(data.leave_out), "splits": hashlib.sha256(splits).hexdigest()}
    if taken_along:
        known = json.loads(found or "{}")
        if known.get("leave_out") != asked["leave_out"]:
            raise ConfigError(
                f"{cache} was read with other structures left out, or none knows with which, and there is no "
                f"{data.folder} to read them again from. Bring the data, or a cache made by this recipe."
            )
    elif found != json.dumps(asked):
        log.info("reading the %s part of %s", part, data.folder)
        cases = read_folder(data.folder, data.splits, part, frozenset(data.leave_out))
        write_cache(cases, cache, json.dumps(asked))
    return read_cache(cache)
