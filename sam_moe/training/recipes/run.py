"""A run's folder before, while and after it trains: writable, with its recipe, machines and log."""

import logging
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sam_moe.config import Settings, dump_settings, load_settings
from sam_moe.errors import ConfigError
from sam_moe.files import check_writable, sweep
from sam_moe.progress import Progress
from sam_moe.registry import MadeBy
from sam_moe.training.engine.loop import Reporting, Run
from sam_moe.training.engine.machines import hardware, machines, note_machine
from sam_moe.training.engine.runlog import hours_of, read_rows
from sam_moe.training.recipes.settings import TrainingRecipe
from sam_moe.training.scans.cache import cache_path, cached_sets

log = logging.getLogger(__name__)

RECIPE = "recipe.yaml"


@dataclass(frozen=True)
class Command:
    """The command that a training was started by."""

    verb: str
    recipe: Path
    overrides: Sequence[str] = ()

    def __str__(self) -> str:
        changes = [part for change in self.overrides for part in ("--set", change)]
        return shlex.join(["sam-moe", self.verb, str(self.recipe), *changes])


def check_folder(run: Path) -> None:
    """Check that a run's folder can be written, before the work, and clear what killed processes left in it.

    Raises:
        FileError: where it is closed to us or read-only.
    """
    check_writable(run)
    sweep(run)


def write_recipe(recipe: Settings, run: Path) -> None:
    """Write what runs as `run/recipe.yaml`; say so when the folder was begun by another recipe."""
    path = run / RECIPE
    if path.is_file():
        try:
            before = load_settings(type(recipe), path)
        except ConfigError as error:  # written by another version, or by hand: no reason not to go on
            log.warning("overwriting a recipe that is not understood: %s", error)
        else:
            keys = type(recipe).model_fields
            if changed := [key for key in keys if getattr(before, key) != getattr(recipe, key)]:
                log.warning("going on in %s with changes to: %s", run, ", ".join(changed))
    dump_settings(recipe, path)


def begin(recipe: TrainingRecipe) -> Run:
    """Note this machine in the run's folder; the run as the loop takes it.

    The seed of the recipe draws what is learnt from, the next one what the training itself draws.
    """
    note_machine(recipe.run, recipe.schedule.steps)
    return Run(recipe.run, recipe.seed + 1)


def reporting(recipe: TrainingRecipe, progress: Progress, stage: str = "training") -> Reporting:
    """The recipe's tracker, and `progress` called with the stage and the share of the steps that is done."""
    return Reporting(recipe.tracker, lambda row: progress(stage, row["step"] / row["steps"]))


def made_by(command: Command, recipe: TrainingRecipe, processes: int, hours_before: float = 0.0) -> MadeBy:
    """How a run was made, for its card; `hours_before` were spent before the training itself."""
    samples = recipe.schedule.batch_size * processes
    return MadeBy(
        command=str(command),
        seeds=(recipe.seed,),
        hours=round(hours_of(read_rows(recipe.run), samples) + hours_before, 4),
        hardware="; ".join(machines(recipe.run)) or hardware(processes),
        data=cached_sets(cache_path(recipe.run, "train")),
    )
