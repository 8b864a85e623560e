"""`sam-moe pretrain RECIPE.yaml`: from a data folder to a backbone with its card, resumable at every step."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from accelerate import PartialState
from pydantic import Field, ValidationError, model_validator

from sam_moe.config import Settings, explain, load_settings
from sam_moe.errors import ConfigError
from sam_moe.files import make_folder, replace_text
from sam_moe.registry import Architecture, BackboneCard, Preprocessing
from sam_moe.systems.sam_med3d_moe.cards.backbone import LoadedBase, load_base
from sam_moe.systems.sam_med3d_moe.pretrain.prepared import PLAN, START, Plan, follow
from sam_moe.systems.sam_med3d_moe.prompted.conversation import DEPTHS
from sam_moe.training.engine.loop import BEST
from sam_moe.training.engine.precision import Precision
from sam_moe.training.engine.runlog import Row
from sam_moe.training.recipes.card import WEIGHTS, CardRecipe, Store, ship
from sam_moe.training.recipes.parts import (
    LabelledScans,
    ScheduleRecipe,
    check_scans,
    keep_scans,
    learnt_ranges,
    told,
    write_recipe,
)
from sam_moe.training.recipes.parts import prepare as prepare_run
from sam_moe.weights.files import read_metadata, save_weights

log = logging.getLogger(__name__)

# What only a training that was begun leaves in a run's folder.
CHECKPOINTS = ("checkpoint", "checkpoint.old", BEST)


class DataRecipe(LabelledScans):
    """What is learnt from."""

    leave_out: tuple[str, ...] = Field((), description="Structures never to learn, by name or 'set/name'.")
    phantom_share: float = Field(0.1, ge=0, le=1, description="Share of procedural phantoms in the stream.")
    curriculum: int = Field(0, ge=0, description="Samples at the start of which half are phantoms.")


class PretrainRecipe(Settings):
    """A general model, from nothing or going on from one. Paths are relative to where you stand."""

    run: Path = Field(description="Folder for log, checkpoints and the result; from where you stand.")
    seed: int = Field(0, description="Of initial weights and of the stream of samples.")
    card: CardRecipe = Field(description="What the model's card says beside what the training knows.")
    start: str | None = Field(
        None, description="A general model to go on from, all of it: its id, card or folder."
    )
    architecture: Architecture | None = Field(None, description="Left out where `start` has one.")
    preprocessing: Preprocessing | None = Field(None, description="Of `start` where it is left out.")
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
        if self.architecture is None or self.preprocessing is None:
            if self.start is None:
                missing = "architecture" if self.architecture is None else "preprocessing"
                raise ValueError(f"{missing} is missing; add it, or name a model to go on from by `start`")
            return self
        size = self.architecture.image_size
        if set(self.preprocessing.region_shape) != {size}:
            raise ValueError(
                f"preprocessing.region_voxels {self.preprocessing.region_voxels} must equal "
                f"architecture.image_size {size}"
            )
        if self.card.default_box_strategy == "corners" and not self.architecture.corner_embeddings:
            raise ValueError(
                "card.default_box_strategy 'corners' needs architecture.corner_embeddings; "
                "use 'mask' or 'center'"
            )
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
        CardError: for a `start` that is no general model.
        FileError: where the run's folder cannot be written, or is full.
    """
    recipe = load_settings(PretrainRecipe, recipe_path, overrides)
    prepare_run(recipe.run)
    parts = ("train", "validation") if recipe.validation_crops else ("train",)
    check_scans(recipe.data, parts, recipe.run)
    start = None if recipe.start is None else load_base(recipe.start)
    recipe = recipe if start is None else _going_on(recipe, start.entry.card)
    assert recipe.architecture is not None and recipe.preprocessing is not None
    _begin(recipe.run, start)
    count = recipe.validation_crops
    for part in parts:
        keep_scans(recipe.data, part, recipe.run, leave_out=recipe.data.leave_out)
    write_recipe(recipe, recipe.run)  # not before: a start that finds no data is none to go on from
    replace_text(recipe.run / PLAN, json.dumps(asdict(_plan(recipe, start)), indent=2) + "\n")
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
        architecture=asdict(recipe.architecture),
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
        box_strategy=recipe.card.default_box_strategy,
        ranges=asdict(learnt_ranges(recipe.preprocessing)),
        start=None if start is None else start.sha256,
    )
