"""One training of a variant in a folder that it goes on in, and what came of it as a record."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import process_time
from typing import Any

import torch
import yaml

from benchmarks.mixture.m4oe.networks import routed
from sam_moe.config import load_settings, read_object
from sam_moe.errors import ConfigError
from sam_moe.evaluation.routing.modalities import ModalityRouting, ScanChoices, by_modality
from sam_moe.files import make_folder, replace_text
from sam_moe.progress import Progress
from sam_moe.registry import CARD, AutomaticCard, DataSet, read_entry
from sam_moe.slices.stack import neighbours
from sam_moe.systems.m4oe.answering import answer
from sam_moe.systems.m4oe.load import load
from sam_moe.systems.m4oe.model import M4oE
from sam_moe.systems.m4oe.train.following import follow
from sam_moe.systems.m4oe.train.settings import M4oERecipe
from sam_moe.systems.m4oe.train.validation import ScansValidation
from sam_moe.training.engine.runlog import read_rows
from sam_moe.training.slices.cache import SliceCache
from sam_moe.training.slices.keeping import keep_slices
from sam_moe.training.slices.settings import Part, SliceData

RECIPE, RECORD, PROCESSOR, SLICES = "asked.yaml", "record.json", "processor.json", "slices"


@dataclass(frozen=True)
class Record:
    """What a training came to; Dice by "<set>/<structure>", by set, and "score", the mean of the sets.

    `losses` are means over the steps since the checkpoint before; `processor_s` is the time that the
    processors spent on the training alone. `nats` is the information between the gates' choice and the
    modality of test slices, summed over places, `shuffled` that of modalities dealt anew; None where no gate
    weighs experts.
    """

    name: str
    seed: int
    steps: int
    parameters: int
    processor_s: float
    losses: Mapping[int, float]
    validation: Mapping[str, float]
    test: Mapping[str, float]
    nats: float | None = None
    shuffled: float | None = None


class ProcessorClock:
    """A progress that adds up what the processors spend in each phase, through any number of starts.

    Steps that are run again after a kill count once.
    """

    def __init__(self, folder: Path, show: Progress) -> None:
        self.path, self.show = folder / PROCESSOR, show
        self.spent: dict[str, float] = read_object(self.path, ConfigError) if self.path.is_file() else {}
        self.before = process_time()

    def __call__(self, stage: str, share: float) -> None:
        """Note what was spent since the last call."""
        now = process_time()
        self.spent[f"{stage} {share:.6f}"] = now - self.before
        self.before = now
        replace_text(self.path, json.dumps(self.spent) + "\n")
        self.show(stage, share)

    def seconds(self, phases: Sequence[str]) -> float:
        """What these phases took."""
        return sum(spent for name, spent in self.spent.items() if name.rpartition(" ")[0] in phases)


def trained(name: str, data: Mapping[str, Any], folder: Path, shared: Path, show: Progress) -> Record:
    """Train by a recipe in a folder, or go on there; what came of it, at once where it is finished.

    Prepared slices lie in `shared`, which all trainings with the same data sets have in common.

    Raises:
        ConfigError: where the folder was begun by another recipe.
    """
    make_folder(folder)
    text = yaml.safe_dump({**data, "run": str(folder)}, sort_keys=False, allow_unicode=True)
    asked = folder / RECIPE
    if asked.is_file() and asked.read_text("utf-8") != text:
        raise ConfigError(
            f"{folder}: was begun by another recipe ({RECIPE}). Give another --out, or remove it."
        )
    replace_text(asked, text)
    if (folder / RECORD).is_file():
        return read_record(folder)
    make_folder(shared)
    if not (folder / SLICES).exists():
        (folder / SLICES).symlink_to(shared.resolve(), target_is_directory=True)
    clock = ProcessorClock(folder, show)
    follow(asked, progress=clock)
    recipe = load_settings(M4oERecipe, asked)
    test = test_scans(recipe, shared)
    routing = routing_of(folder, test, recipe.sets)
    record = Record(
        name,
        recipe.seed,
        sum(each.schedule.steps for each in recipe.phases),
        parameters=sum(p.numel() for p in _module(folder).parameters()),
        processor_s=round(clock.seconds([each.phase for each in recipe.phases]), 3),
        losses=losses_of(folder, recipe),
        validation=dice_of(folder, keep_slices(recipe.data, recipe.sets, "validation", folder), recipe.sets),
        test=dice_of(folder, test, recipe.sets),
        nats=None if routing is None else round(routing.nats, 4),
        shuffled=None if routing is None else round(routing.shuffled, 5),
    )
    replace_text(folder / RECORD, json.dumps(asdict(record), indent=1) + "\n")
    return record


def read_record(folder: Path) -> Record:
    """The record of a finished training."""
    found = read_object(folder / RECORD, ConfigError)
    return Record(**{**found, "losses": {int(step): loss for step, loss in found["losses"].items()}})


def losses_of(folder: Path, recipe: M4oERecipe) -> dict[int, float]:
    """The mean loss of the last phase's log up to each of eight checkpoints, since the one before."""
    rows = read_rows(folder / f"{len(recipe.phases)}-{recipe.phases[-1].phase}")
    losses = [(row["step"], row["loss"]) for row in rows if "loss" in row]
    steps = recipe.phases[-1].schedule.steps
    found, before = {}, 0
    for checkpoint in (round(steps * part / 8) for part in range(1, 9)):
        own = [loss for step, loss in losses if before < step <= checkpoint]
        if own:
            found[checkpoint], before = round(sum(own) / len(own), 4), checkpoint
    return found


def dice_of(folder: Path, scans: SliceCache, sets: tuple[DataSet, ...]) -> dict[str, float]:
    """Dice of a finished training on whole scans, on prepared grids; heads are given, gates route."""
    model = _module(folder)
    measure = ScansValidation(model, scans.wholes, sets, known=False)
    return {name: round(value, 4) for name, value in measure(dict(model.state_dict())).items()}


@torch.no_grad()
def routing_of(folder: Path, scans: SliceCache, sets: tuple[DataSet, ...]) -> ModalityRouting | None:
    """How the gates of a finished training route the slices of scans; None where no gate weighs experts."""
    model = _module(folder)
    if not model.sites() or model.mixture.scores != "expert":
        return None
    seen = []
    for whole in scans.wholes():
        _, found = answer(model, neighbours(whole.stack.array), whole.set)
        weights = routed({place: routing.weights for place, routing in found.items()})
        chosen = {place: tuple(own.argmax(dim=1).tolist()) for place, own in weights.items()}
        means = {place: tuple(own.mean(dim=0).tolist()) for place, own in weights.items()}
        seen.append(ScanChoices(sets[whole.set].modality, means, chosen))
    return by_modality(seen, model.mixture.experts)


def test_scans(recipe: M4oERecipe, shared: Path) -> SliceCache:
    """The prepared test scans of a recipe's sets, beside the shared ones."""
    run = shared.parent / "of-test"
    return keep_slices(of_part(recipe.data, "test"), recipe.sets, "validation", run)


def of_part(data: SliceData, part: str) -> SliceData:
    """The same data, with another part of each set's validation folders in its place."""
    kept: Part = "validation"
    sets = {
        id: each.model_copy(
            update={kept: tuple(source.model_copy(update={"part": part}) for source in each.validation)}
        )
        for id, each in data.sets.items()
    }
    return data.model_copy(update={"sets": sets})


def _module(folder: Path) -> M4oE:
    entry = read_entry(folder / CARD)
    assert isinstance(entry.card, AutomaticCard)
    return load(entry, None, "cpu", None).network.module
