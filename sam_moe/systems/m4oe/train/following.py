"""`sam-moe train RECIPE.yaml` of an automatic model: phase by phase, resumable at every step."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from sam_moe.config import load_settings
from sam_moe.errors import ConfigError
from sam_moe.files import make_folder
from sam_moe.moe.system import Phase, learning
from sam_moe.progress import Progress, silent
from sam_moe.registry import AutomaticCard
from sam_moe.registry.finding import as_automatic, find_card
from sam_moe.systems.m4oe.load import load
from sam_moe.systems.m4oe.model import M4oE
from sam_moe.systems.m4oe.phases import MASKED
from sam_moe.systems.m4oe.train.adding import ADD, adding_phase, check_start, extend
from sam_moe.systems.m4oe.train.learner import Aim, SlicesLoss, fresh_model
from sam_moe.systems.m4oe.train.masked import MaskedLoss
from sam_moe.systems.m4oe.train.settings import M4oERecipe, PhaseRecipe
from sam_moe.systems.m4oe.train.shipping import ship
from sam_moe.systems.m4oe.train.validation import ScansValidation
from sam_moe.training.engine.best import Kept, Validation
from sam_moe.training.engine.loop import Learner, Reporting, Run, train
from sam_moe.training.engine.machines import note_machine, processes
from sam_moe.training.engine.samples import Samples
from sam_moe.training.recipes.run import Command, check_folder, write_recipe
from sam_moe.training.slices.cache import SliceCache
from sam_moe.training.slices.drawing import DrawnSlices
from sam_moe.training.slices.keeping import check_slices, keep_slices
from sam_moe.training.slices.settings import Drawing
from sam_moe.weights.files import WEIGHTS, read_state, save_weights

END = "end.safetensors"  # what a finished phase leaves to the next
_LOOKED_AT = 64  # slices by which a new expert's first weights are chosen


@dataclass(frozen=True)
class Scans:
    """The prepared scans of a recipe."""

    train: SliceCache
    validation: SliceCache


def follow(recipe_path: Path, overrides: Sequence[str] = (), progress: Progress = silent) -> Path:
    """Follow a recipe to its end: `model.safetensors` in the run's folder, and `card.json` beside it.

    Returns the path of the weights, so that `sam_moe.load(run)` works; started again on the same folder, the
    training goes on where it stopped.

    Raises:
        ConfigError: for a recipe that cannot be followed.
        FileError: where the run's folder cannot be written, or is full.
    """
    recipe, model, scans = train_phases(recipe_path, overrides, progress)
    together = processes()
    if together.is_main_process:
        progress("measuring", 0.0)
        ship(recipe, model, scans.train, scans.validation, str(Command("train", recipe_path, overrides)))
    together.wait_for_everyone()
    return recipe.run / WEIGHTS


def train_phases(
    recipe_path: Path, overrides: Sequence[str] = (), progress: Progress = silent
) -> tuple[M4oERecipe, M4oE, Scans]:
    """Follow a recipe's phases; the model with the weights that the last one left.

    Each phase has a folder of its own in the run's, `1-trunk` and so on, with log and checkpoints; one that
    is finished is not run again.

    Raises:
        ConfigError, FileError: as `follow`.
    """
    recipe = load_settings(M4oERecipe, recipe_path, overrides)
    check_folder(recipe.run)
    check_slices(recipe.data, recipe.sets, recipe.run)
    with processes().main_process_first():  # one reads, the others find it
        scans = Scans(
            keep_slices(recipe.data, recipe.sets, "train", recipe.run, progress),
            keep_slices(recipe.data, recipe.sets, "validation", recipe.run, progress),
        )
    model = _first(recipe, scans)
    for each in recipe.phases:
        _phase(model, each.phase)  # a slip in the last phase is answered before the first one runs
    write_recipe(recipe, recipe.run)
    for number, each in enumerate(recipe.phases, start=1):
        folder = recipe.run / f"{number}-{each.phase}"
        if not (folder / END).is_file():
            kept = _run(recipe, each, model, folder, scans, progress)
            if processes().is_main_process:
                save_weights(kept.weights, folder / END, {"step": str(kept.step)})
            processes().wait_for_everyone()
        model.load_state_dict(read_state(folder / END))
    return recipe, model, scans


def _first(recipe: M4oERecipe, scans: Scans) -> M4oE:
    """The model that the phases begin with: fresh, or a finished one with room for what is added."""
    model = fresh_model(recipe.architecture, recipe.mixture, recipe.owners, recipe.seed)
    if recipe.start is not None:
        entry = as_automatic(find_card(recipe.start, wanted=(AutomaticCard,)))
        check_start(recipe, entry.card)
        drawn = DrawnSlices(scans.train, recipe.drawing, recipe.seed)
        extend(model, load(entry, None, "cpu", None).network.module, _some(drawn))
    return model


def _some(drawn: DrawnSlices) -> Iterator[dict[str, Tensor]]:
    yield from DataLoader(Subset(drawn, range(_LOOKED_AT)), batch_size=16)


def _phase(model: M4oE, name: str) -> Phase:
    if name.startswith(ADD):
        return adding_phase(model, name)
    known = {phase.name: phase for phase in model.phases()}
    if name not in known:
        raise ConfigError(f"phases: {name!r} is none of this model's: {', '.join(known)}. Correct it.")
    return known[name]


def _run(
    recipe: M4oERecipe, each: PhaseRecipe, model: M4oE, folder: Path, scans: Scans, progress: Progress
) -> Kept:
    """Train one phase; all that it does not name keeps every bit."""
    schedule = each.schedule.schedule()
    make_folder(folder)
    note_machine(folder, schedule.steps)
    with learning(model, _phase(model, each.phase)):
        return train(
            Learner(_loss(model.train(), each), model),
            Samples(DrawnSlices(scans.train, _drawing(recipe, each), recipe.seed), recipe.workers),
            schedule,
            Run(folder, recipe.seed + 1),
            _validation(recipe, each, scans.validation),
            Reporting(recipe.tracker, lambda row: progress(each.phase, row["step"] / row["steps"])),
        )


def _loss(model: M4oE, each: PhaseRecipe) -> nn.Module:
    if each.phase.startswith(MASKED):
        return MaskedLoss(model, model.mixture.experts.index(each.phase.removeprefix(MASKED)))
    aims: dict[str, Aim] = {"gate": "gate", "together": "gated"}
    aim = "added" if each.phase.startswith(ADD) else aims.get(each.phase, "known")
    return SlicesLoss(model, aim, each.domain if model.mixture.scores == "expert" else 0.0)


def _drawing(recipe: M4oERecipe, each: PhaseRecipe) -> Drawing:
    """What a phase draws: masked images of its expert's sets alone, unless the recipe says otherwise."""
    weights = each.weights
    if weights is None and each.phase.startswith(MASKED):
        expert, known = each.phase.removeprefix(MASKED), recipe.drawing.weights
        weights = {s.id: known.get(s.id, 1.0) if s.expert == expert else 0.0 for s in recipe.sets}
    return recipe.drawing if weights is None else recipe.drawing.model_copy(update={"weights": weights})


def _validation(recipe: M4oERecipe, each: PhaseRecipe, cases: SliceCache) -> Validation | None:
    if not each.validate_every:
        return None
    model = fresh_model(recipe.architecture, recipe.mixture, recipe.owners, recipe.seed)
    measure = ScansValidation(model, cases.wholes, recipe.sets, known=each.phase != "together")
    return Validation(measure, each.validate_every)
