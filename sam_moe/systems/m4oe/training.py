"""`sam-moe train RECIPE.yaml` of an automatic model: phase by phase, resumable at every step."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from sam_moe.config import load_settings
from sam_moe.errors import ConfigError
from sam_moe.files import make_folder
from sam_moe.moe.system import Phase, learning
from sam_moe.progress import Progress, silent
from sam_moe.systems.m4oe.learner import Aim, SlicesLoss, fresh_model
from sam_moe.systems.m4oe.model import M4oE
from sam_moe.systems.m4oe.settings import M4oERecipe, PhaseRecipe
from sam_moe.systems.m4oe.validation import ScansValidation
from sam_moe.training.engine.best import Kept, Validation
from sam_moe.training.engine.loop import Learner, Reporting, Run, train
from sam_moe.training.engine.machines import note_machine, processes
from sam_moe.training.engine.samples import Samples
from sam_moe.training.recipes.run import check_folder, write_recipe
from sam_moe.training.slices.cache import SliceCache, check_slices, keep_slices
from sam_moe.training.slices.drawing import DrawnSlices
from sam_moe.weights.files import read_state, save_weights

log = logging.getLogger(__name__)

END = "end.safetensors"  # what a finished phase leaves to the next


@dataclass(frozen=True)
class Scans:
    """The prepared scans of a recipe."""

    train: SliceCache
    validation: SliceCache


def train_phases(
    recipe_path: Path, overrides: Sequence[str] = (), progress: Progress = silent
) -> tuple[M4oERecipe, M4oE, Scans]:
    """Follow a recipe's phases; the model with the weights of the last one.

    Each phase has a folder of its own in the run's, `1-trunk` and so on, with log and checkpoints; one that
    is finished is not run again. Started again, the training goes on with the very next batch.

    Raises:
        ConfigError: for a recipe that cannot be followed.
        FileError: where the run's folder cannot be written, or is full.
    """
    recipe = load_settings(M4oERecipe, recipe_path, overrides)
    check_folder(recipe.run)
    check_slices(recipe.data, recipe.sets, recipe.run)
    scans = Scans(
        *(
            keep_slices(recipe.data, recipe.sets, part, recipe.run, progress)
            for part in ("train", "validation")
        )
    )
    write_recipe(recipe, recipe.run)
    model = fresh_model(recipe.architecture, recipe.mixture, recipe.owners, recipe.seed)
    for number, each in enumerate(recipe.phases, start=1):
        phase = _phase(model, each)
        folder = recipe.run / f"{number}-{each.phase}"
        if not (folder / END).is_file():
            kept = _run(recipe, each, phase, model, folder, scans, progress)
            if processes().is_main_process:
                save_weights(kept.weights, folder / END, {"step": str(kept.step)})
            processes().wait_for_everyone()
        model.load_state_dict(read_state(folder / END))
    return recipe, model, scans


def _phase(model: M4oE, recipe: PhaseRecipe) -> Phase:
    known = {phase.name: phase for phase in model.phases()}
    if recipe.phase not in known:
        raise ConfigError(
            f"phases: {recipe.phase!r} is none of this model's: {', '.join(known)}. Correct it."
        )
    return known[recipe.phase]


def _run(
    recipe: M4oERecipe,
    each: PhaseRecipe,
    phase: Phase,
    model: M4oE,
    folder: Path,
    scans: Scans,
    progress: Progress,
) -> Kept:
    """Train one phase; all that it does not name keeps every bit."""
    aim: Aim = {"gate": "gate", "together": "gated"}.get(each.phase, "known")  # type: ignore[assignment]
    drawing = (
        recipe.drawing
        if each.weights is None
        else recipe.drawing.model_copy(update={"weights": each.weights})
    )
    drawn = DrawnSlices(scans.train, drawing, recipe.seed)
    schedule = each.schedule.schedule()
    make_folder(folder)
    note_machine(folder, schedule.steps)
    validation = None
    if each.validate_every:
        other = fresh_model(recipe.architecture, recipe.mixture, recipe.owners, recipe.seed)
        measure: Callable[[dict[str, Tensor]], dict[str, float]] = ScansValidation(
            other, scans.validation.wholes, recipe.sets, known=aim == "known"
        )
        validation = Validation(measure, each.validate_every)
    with learning(model, phase):
        return train(
            Learner(SlicesLoss(model.train(), aim, each.domain), model),
            Samples(drawn, recipe.workers),
            schedule,
            Run(folder, recipe.seed + 1),
            validation,
            Reporting(recipe.tracker, lambda row: progress(each.phase, row["step"] / row["steps"])),
        )
