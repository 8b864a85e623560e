"""`python -m sam_moe.training.bare RUN`: train where only torch, accelerate and safetensors are installed.

`sam-moe pretrain RECIPE --prepare` fills the folder RUN with plan and caches; carry it there and back, and
`sam-moe pretrain RECIPE` ships what was learnt. It trains through `train_prepared` itself.
"""

import json
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sam_moe.errors import ConfigError, SamMoeError
from sam_moe.hosts.sam3d.loading import load_model
from sam_moe.hosts.sam3d.lowering import BoxStrategy
from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.normalise import Normalisation
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.systems.sam_med3d_moe.pretrain.learner import PromptedLoss, fresh_model, let_learn
from sam_moe.systems.sam_med3d_moe.pretrain.validation import SEED, ModelValidation
from sam_moe.systems.sam_med3d_moe.prompted.conversation import Prompting
from sam_moe.systems.sam_med3d_moe.prompted.regions import Appearance, Cut, Mix, Regions
from sam_moe.training.engine.best import Kept, Validation
from sam_moe.training.engine.loop import Learner, Reporting, Run, train
from sam_moe.training.engine.machines import note_machine
from sam_moe.training.engine.precision import Precision
from sam_moe.training.engine.runlog import Row
from sam_moe.training.engine.samples import Samples
from sam_moe.training.engine.schedule import Schedule
from sam_moe.training.scans.cache import cache_path, read_cache
from sam_moe.training.scans.crops import RANGES, CropRanges
from sam_moe.weights.checksums import fingerprint

log = logging.getLogger(__name__)

PLAN = "plan.json"
# The model that a run goes on from, if any.
START = "start.safetensors"


@dataclass(frozen=True)
class Plan:
    """What a training takes beside its caches: a recipe (`pretrain.recipe`) that has been checked."""

    architecture: Sizes
    schedule: Schedule
    normalisation: Normalisation
    seed: int
    weights: dict[str, float]
    phantom_share: float
    spoil_share: float
    curriculum: int
    targets: int
    corrections: Sequence[float]
    validation_crops: int
    validate_every: int
    workers: int
    tracker: str | None
    precision: Precision
    box_strategy: BoxStrategy = "mask"  # of the card; plans of earlier versions know no other
    ranges: CropRanges = RANGES  # of the regions; the defaults for plans of earlier versions
    start: str | None = None  # fingerprint of the model in START; None for one that has learnt nothing


def train_prepared(run: Path, report: Callable[[Row], None] | None = None) -> Kept:
    """Train by the plan and from the caches in a run's folder; started again, it goes on where it stopped.

    Raises:
        ConfigError: for a folder without plan or caches, or with nothing to learn from.
        WeightsError: where the model that the plan starts from is missing or does not fit.
    """
    plan = read_plan(run / PLAN)
    scans = read_cache(cache_path(run, "train"))
    if not scans and plan.phantom_share < 1:
        raise ConfigError(
            f"{cache_path(run, 'train')}: the train part holds no structure to learn. Name cases in the "
            "splits file, or set data.phantom_share to 1 to learn from phantoms alone."
        )
    if unknown := sorted(set(plan.weights) - {scan.group for scan in scans}):
        log.warning("data.weights names sets without a case to learn from: %s", ", ".join(unknown))
    sizes, ranges = plan.architecture, plan.ranges
    model = fresh_model(sizes, plan.seed) if plan.start is None else _started(run, sizes, plan.start)
    stream = Regions(
        scans,
        Cut(sizes.image_size, ranges, plan.targets),
        plan.seed + 1,
        Mix(plan.weights, plan.phantom_share, plan.curriculum),
        Appearance(plan.spoil_share, plan.normalisation),
    )
    held_out = ModelValidation(
        lambda: read_cache(cache_path(run, "validation")),
        lambda found: Regions(
            found,
            Cut(sizes.image_size, ranges),
            SEED,
            appearance=Appearance(0.0, plan.normalisation),
        ),
        plan.validation_crops,
        sizes,
        plan.box_strategy,
    )
    note_machine(run, plan.schedule.steps)
    prompting = Prompting(plan.corrections, box_strategy=plan.box_strategy)
    return train(
        Learner(PromptedLoss(model, prompting), model),
        Samples(stream, plan.workers),
        plan.schedule,
        Run(run, plan.seed + 1, plan.precision),
        Validation(held_out, plan.validate_every) if plan.validation_crops else None,
        Reporting(plan.tracker, report),
    )


def _started(run: Path, sizes: Sizes, sha256: str) -> SamMed3D:
    """The model that `sam-moe pretrain` left for a run to go on from."""
    model = load_model(run / START, sizes)
    if (found := fingerprint(model)) != sha256:
        raise ConfigError(
            f"{run / START}: holds a model with the fingerprint {found}, and the plan names {sha256}. "
            "`sam-moe pretrain RECIPE --prepare` writes both."
        )
    return let_learn(model)


def _tuples(read: dict[str, Any]) -> dict[str, Any]:
    """Lists as tuples, which JSON does not know."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in read.items()}


def read_plan(path: Path) -> Plan:
    """The plan that a recipe left in a run's folder.

    Raises:
        ConfigError: for a file that is no plan.
    """
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
        return Plan(
            **read
            | {
                "architecture": Sizes(**_tuples(read["architecture"])),
                "schedule": Schedule(**read["schedule"]),
                "ranges": CropRanges(**_tuples(read.get("ranges") or {})),
            }
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(
            f"{path}: not readable as the plan of a training: {error}. `sam-moe pretrain RECIPE --prepare` "
            "of the same version writes one."
        ) from error


def main() -> None:
    """Follow the plan in the folder that the command line names."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if len(sys.argv) != 2:
        sys.exit("usage: python -m sam_moe.training.bare RUN")
    try:
        train_prepared(Path(sys.argv[1]))
    except SamMoeError as error:
        sys.exit(f"sam-moe: {error}")


if __name__ == "__main__":
    main()
