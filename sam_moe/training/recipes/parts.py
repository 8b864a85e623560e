"""What the recipes of all trainings share: scans and how they are kept, the schedule, how it is told."""

import hashlib
import json
import logging
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pydantic import Field

from sam_moe.config import Record, Settings, dump_settings, load_settings
from sam_moe.errors import ConfigError
from sam_moe.files import check_writable, make_folder, sweep
from sam_moe.registry import MadeBy, Preprocessing
from sam_moe.training.engine.machines import hardware, machines
from sam_moe.training.engine.runlog import hours_of, read_rows
from sam_moe.training.scans.cache import cache_origin, cache_path, cached_sets, write_cache
from sam_moe.training.scans.crops import CropRanges, ranges_for
from sam_moe.training.scans.scan_files import content_of
from sam_moe.training.scans.sources import listed_cases, read_folder

log = logging.getLogger(__name__)

RECIPE = "recipe.yaml"


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
    """How long and how fast; see `training.loop.Schedule`."""

    steps: int = Field(gt=0, description="Optimiser steps.")
    batch_size: int = Field(4, gt=0, description="Regions per step and process.")
    learning_rate: float = Field(1e-3, gt=0, description="At the plateau.")
    warmup: int = Field(200, ge=0, description="Steps of linear warm-up.")
    decay: float = Field(0.4, gt=0, le=1, description="Share of the steps in which the rate falls to 0.")
    average: float = Field(0.998, ge=0, lt=1, description="Decay of the averaged weights.")
    save_every: int = Field(100, gt=0, description="Steps between checkpoints.")


def learnt_ranges(preprocessing: Preprocessing) -> CropRanges:
    """How regions are drawn for whatever learns to answer with this preprocessing (`crops.ranges_for`)."""
    known = ("spacing_mm", "zoom_min", "zoom_max", "click_zoom", "box_fill")
    return ranges_for(**{key: getattr(preprocessing, key) for key in known})


def prepare(run: Path) -> None:
    """See that a run's folder can be written, before the work, and clear what killed processes left in it.

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


def check_scans(data: LabelledScans, parts: Iterable[str], run: Path) -> None:
    """See that the cases of these parts can be found, before anything is written to the run's folder.

    Raises:
        ConfigError: for a splits file or data folder that do not belong together.
    """
    for part in parts:
        if not _taken_along(data, part, run):
            listed_cases(data.folder, data.splits, part)


def keep_scans(
    data: LabelledScans,
    part: str,
    run: Path,
    leave_out: Sequence[str] = (),
    learn: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """Read the cases of one part into a cache file in the run's folder, unless they are there; its origin.

    They are read again where other structures are asked for, or the splits or the scans' files have changed.
    Where neither data folder nor splits file are, a cache that was taken along serves as it is.

    Raises:
        ConfigError: where such a cache holds other structures than are asked for.
    """
    path = cache_path(run, part)
    found = cache_origin(path)
    structures = {"leave_out": sorted(leave_out)}
    if learn is not None:
        structures["learn"] = sorted(f"{name}: {label}" for name, labels in learn.items() for label in labels)
    if _taken_along(data, part, run):
        known = json.loads(found or "{}")
        if found is None or any(known.get(key) != structures.get(key) for key in ("leave_out", "learn")):
            raise ConfigError(
                f"{path} was read with other structures left out, or none knows with which, and there is no "
                f"{data.folder} to read them again from. Bring the data, or a cache made by this recipe."
            )
        return found
    make_folder(run)
    cases = listed_cases(data.folder, data.splits, part)
    content = content_of(cases, data.folder, path.with_suffix(".files.json"))
    splits = hashlib.sha256(data.splits.read_bytes()).hexdigest()
    origin = json.dumps({**structures, "splits": splits, "files": content})
    if found != origin:
        log.info("reading the %s part of %s", part, data.folder)
        write_cache(read_folder(data.folder, data.splits, part, frozenset(leave_out), learn), path, origin)
    return origin


def _taken_along(data: LabelledScans, part: str, run: Path) -> bool:
    """Whether there is a cache of a part, and nothing to read it again from."""
    return cache_path(run, part).is_file() and not data.folder.is_dir() and not data.splits.is_file()


def told(
    verb: str,
    recipe_path: Path,
    overrides: Sequence[str],
    run: Path,
    seed: int,
    batch_size: int,
    processes: int,
    before: float = 0.0,
) -> MadeBy:
    """How a run was made, as its card tells it; `before` are the hours that came before the training."""
    changes = [part for change in overrides for part in ("--set", change)]
    return MadeBy(
        command=shlex.join(["sam-moe", verb, str(recipe_path), *changes]),
        seeds=(seed,),
        hours=round(hours_of(read_rows(run), batch_size * processes) + before, 4),
        hardware="; ".join(machines(run)) or hardware(processes),
        data=cached_sets(cache_path(run, "train")),
    )
