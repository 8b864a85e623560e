"""Groups of settings that the recipes of all trainings share."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from sam_moe.config import Record, Settings
from sam_moe.registry import Attribution
from sam_moe.training.engine.schedule import Schedule

Store = Literal["float32", "float16"]


class LabelledScans(Record):
    """Where labelled scans are, and how regions are drawn from them."""

    folder: Path = Field(description="Folder of data sets, each with a dataset.json; from where you stand.")
    splits: Path = Field(description="Splits file naming the cases of each part; from where you stand.")
    weights: dict[str, float] = Field({}, description="How often each set is drawn, relative to the others.")
    spoil_share: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Share of the regions with a scanner's faults: noise, bias, thick slices.",
    )


class ScheduleRecipe(Record):
    """How long and how fast; see `training.engine.schedule.Schedule`."""

    steps: int = Field(gt=0, description="Optimiser steps.")
    batch_size: int = Field(4, gt=0, description="Regions per step and process.")
    learning_rate: float = Field(1e-3, gt=0, description="At the plateau.")
    warmup: int = Field(200, ge=0, description="Steps of linear warm-up.")
    decay: float = Field(0.4, gt=0, le=1, description="Share of the steps in which the rate falls to 0.")
    average: float = Field(0.998, ge=0, lt=1, description="Decay of the averaged weights.")
    save_every: int = Field(100, gt=0, description="Steps between checkpoints.")

    def schedule(self) -> Schedule:
        """As the loop takes it."""
        return Schedule(**self.model_dump())


class TrainingRecipe(Settings):
    """What every training has; paths are relative to the folder the command is given in."""

    run: Path = Field(description="Folder for log, checkpoints and the result; from where you stand.")
    seed: int = Field(0, description="Of all that is drawn.")
    schedule: ScheduleRecipe
    validate_every: int = Field(500, gt=0, description="Steps between validations; the best is kept.")
    tracker: str | None = Field(None, description="An Accelerate tracker: tensorboard, wandb, …")


class Naming(Record):
    """What a person writes on any card."""

    id: str = Field(
        pattern="^[a-z0-9][a-z0-9._-]*$", description="Name of the card; of its folder too, once it ships."
    )
    title: str = Field(min_length=1, description="One line for a list.")
    description: str = Field("", description="What it is good at; a gate, what it chooses between.")
    licence: str = Field(min_length=1, description="SPDX identifier of the weights' own licence.")


class Words(Naming):
    """What a person writes on the card of a general model or an expert."""

    attribution: tuple[Attribution, ...] = Field((), description="Credits: the sets learnt from.")
    not_for: str = Field(min_length=1, description="What it must not be used for.")


class CardRecipe(Words):
    """What a person writes on a backbone's card."""

    default_box_strategy: Literal["center", "mask", "corners"] = Field(
        "mask", description="How a box is lowered by default."
    )
