"""`sam-moe pretrain RECIPE.yaml`: from a data folder to a backbone with its card, resumable at every step."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from accelerate import PartialState
from pydantic import Field, model_validator

from sam_moe.config import Settings, load_settings
from sam_moe.files import make_folder, replace_text
from sam_moe.registry import Architecture, Preprocessing
from sam_moe.training.bare import PLAN, Plan, follow
from sam_moe.training.card import WEIGHTS, CardRecipe, Store, ship
from sam_moe.training.conversation import DEPTHS
from sam_moe.training.precision import Precision
from sam_moe.training.recipe_parts import (
    LabelledScans,
    ScheduleRecipe,
    check_scans,
    keep_scans,
    told,
    write_recipe,
)
from sam_moe.training.recipe_parts import prepare as prepare_run
from sam_moe.training.runlog import Row

log = logging.getLogger(__name__)


class DataRecipe(LabelledScans):
    """What is learnt from."""

    leave_out: tuple[str, ...] = Field((), description="Structures never to learn, by name or 'set/name'.")
    phantom_share: float = Field(0.1, ge=0, le=1, description="Share of procedural phantoms in the stream.")
    curriculum: int = Field(0, ge=0, description="Samples at the start of which half are phantoms.")


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
        FileError: where the run's folder cannot be written, or is full.
    """
    recipe = load_settings(PretrainRecipe, recipe_path, overrides)
    prepare_run(recipe.run)
    count = recipe.validation_crops
    parts = ("train", "validation") if count else ("train",)
    check_scans(recipe.data, parts, recipe.run)
    make_folder(recipe.run)
    for part in parts:
        keep_scans(recipe.data, part, recipe.run, leave_out=recipe.data.leave_out)
    write_recipe(recipe, recipe.run)  # not before: a start that finds no data is none to go on from
    replace_text(recipe.run / PLAN, json.dumps(asdict(_plan(recipe)), indent=2) + "\n")
    if prepare:
        return recipe.run
    kept = follow(recipe.run, report)
    processes = PartialState()  # Accelerate's; exists since `train` at the latest
    path = recipe.run / WEIGHTS
    if processes.is_main_process:
        log.info("shipping the weights of step %d of %d", kept.step, recipe.schedule.steps)
        made_by = told(
            "pretrain",
            recipe_path,
            overrides,
            recipe.run,
            recipe.seed,
            recipe.schedule.batch_size,
            processes.num_processes,
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
