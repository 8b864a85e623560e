"""`sam-moe pretrain RECIPE.yaml`: from a data folder to a backbone with its card, resumable at every step."""

import logging
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor

from sam_moe.config import Record, Settings, dump_settings, load_settings
from sam_moe.errors import ConfigError
from sam_moe.registry import Architecture, Preprocessing
from sam_moe.sam3d.model import SamMed3D
from sam_moe.sam3d.sizes import Sizes
from sam_moe.sam3d.weights import save_weights
from sam_moe.training.general import PromptedLoss, Regions, dice_of, fresh_model
from sam_moe.training.loop import Schedule, train
from sam_moe.training.sources import Scan, read_cache, read_folder, write_cache

log = logging.getLogger(__name__)


class DataRecipe(Record):
    """What is learnt from."""

    folder: Path = Field(description="Folder of data sets, each with a dataset.json.")
    splits: Path = Field(description="Splits file naming the cases of each part.")
    leave_out: tuple[str, ...] = Field((), description="Structures never to learn, by name or 'set/name'.")
    weights: dict[str, float] = Field({}, description="How often each set is drawn, relative to the others.")
    phantom_share: float = Field(0.1, ge=0, le=1, description="Share of procedural phantoms in the stream.")
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
    """A small general model, from nothing."""

    run: Path = Field(description="Folder for log, checkpoints and the result.")
    seed: int = Field(0, description="Of initial weights and of the stream of samples.")
    architecture: Architecture
    preprocessing: Preprocessing
    data: DataRecipe
    schedule: ScheduleRecipe
    rounds: int = Field(2, ge=1, description="Answers per region: the first prompt and its corrections.")
    validation_crops: int = Field(96, ge=0, description="Regions of the validation part; 0 for none.")
    validate_every: int = Field(500, gt=0, description="Steps between validations.")
    workers: int = Field(1, ge=0, description="Processes that cut regions.")
    tracker: str | None = Field(None, description="An Accelerate tracker: tensorboard, wandb, …")


def pretrain(recipe_path: Path, overrides: list[str] | None = None) -> Path:
    """Follow a recipe and return the path of the trained weights, `run/model.safetensors`.

    What ran is written to `run/recipe.yaml`; started again on the same folder, it goes on where it stopped.

    Raises:
        ConfigError: for a recipe that cannot be followed.
    """
    recipe = load_settings(PretrainRecipe, recipe_path, overrides or [])
    if recipe.preprocessing.region_voxels != recipe.architecture.image_size:
        raise ConfigError(
            f"{recipe_path}: preprocessing.region_voxels {recipe.preprocessing.region_voxels} must equal "
            f"architecture.image_size {recipe.architecture.image_size}."
        )
    recipe.run.mkdir(parents=True, exist_ok=True)
    dump_settings(recipe, recipe.run / "recipe.yaml")
    scans = _scans(recipe, "train")
    sizes = Sizes(**recipe.architecture.model_dump())
    model = fresh_model(sizes, recipe.seed)
    stream = Regions(
        scans,
        sizes.image_size,
        recipe.seed + 1,
        10**9,
        recipe.data.weights,
        recipe.data.phantom_share,
        recipe.data.curriculum,
    )
    values = train(
        PromptedLoss(model, recipe.rounds),
        model,
        stream,
        Schedule(**recipe.schedule.model_dump()),
        recipe.run,
        recipe.seed + 1,
        recipe.workers,
        _validation(recipe, sizes),
        recipe.validate_every,
        recipe.tracker,
    )
    target = recipe.run / "model.safetensors"
    save_weights(values, target, {"recipe": "recipe.yaml"})
    return target


def _scans(recipe: PretrainRecipe, part: str) -> list[Scan]:
    """The cases of one part, through a cache file in the run's folder."""
    cache = recipe.run / f"{part}.safetensors"
    if not cache.is_file():
        log.info("reading the %s part of %s", part, recipe.data.folder)
        leave_out = frozenset(recipe.data.leave_out)
        write_cache(read_folder(recipe.data.folder, recipe.data.splits, part, leave_out), cache)
    return read_cache(cache)


class _validation:
    """Dice of averaged weights on fixed validation regions, for each way to prompt and each round."""

    ROUNDS, BATCH, WAYS = 3, 8, ("click", "corners", "mask")

    def __init__(self, recipe: PretrainRecipe, sizes: Sizes) -> None:
        self.sizes, self.recipe = sizes, recipe
        self.batch: dict[str, Tensor] | None = None

    @torch.no_grad()
    def __call__(self, values: dict[str, Tensor]) -> dict[str, float]:
        count = self.recipe.validation_crops
        if count == 0:
            return {}
        if self.batch is None:
            stream = Regions(
                _scans(self.recipe, "validation"), self.sizes.image_size, 7, count, {}, 0.0, spoiled=False
            )
            self.batch = torch.utils.data.default_collate([stream[n] for n in range(count)])
        model = SamMed3D(self.sizes)
        model.load_state_dict(values)
        loss, scores = PromptedLoss(model.eval(), self.ROUNDS, box_jitter=0.03), []
        for start in range(0, count, self.BATCH):
            image, target = (self.batch[k][start : start + self.BATCH] for k in ("image", "target"))
            _, seen = loss(image, target, torch.Generator().manual_seed(start))
            found = torch.stack([dice_of(logits, target.repeat(3, 1, 1, 1)) for logits in seen])
            scores.append(found.view(self.ROUNDS, len(self.WAYS), -1))
        mean = torch.cat(scores, dim=2).mean(dim=2)
        figures = {
            f"{way}{turn + 1}": round(float(mean[turn, column]), 4)
            for turn in range(self.ROUNDS)
            for column, way in enumerate(self.WAYS)
        }
        return {**figures, "score": round(float(mean.mean()), 4)}
