"""The labelled scans of a recipe: found before the work, kept in the run's folder, read anew when changed."""

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sam_moe.cases.splits import cases_of_part
from sam_moe.errors import ConfigError
from sam_moe.files import make_folder
from sam_moe.registry import Preprocessing
from sam_moe.training.recipes.settings import LabelledScans
from sam_moe.training.scans.cache import cache_origin, cache_path, write_cache
from sam_moe.training.scans.crops import CropRanges, ranges_for
from sam_moe.training.scans.scan_files import content_of
from sam_moe.training.scans.sources import read_folder

log = logging.getLogger(__name__)


def learnt_ranges(preprocessing: Preprocessing) -> CropRanges:
    """How regions are drawn for whatever learns to answer with this preprocessing (`crops.ranges_for`)."""
    known = ("spacing_mm", "zoom_min", "zoom_max", "click_zoom", "box_fill")
    return ranges_for(**{key: getattr(preprocessing, key) for key in known})


def check_scans(data: LabelledScans, parts: Iterable[str], run: Path) -> None:
    """Check that the cases of these parts can be found, before anything is written to the run's folder.

    Raises:
        ConfigError: for a splits file or data folder that do not belong together.
    """
    for part in parts:
        if not _taken_along(data, part, run):
            cases_of_part(data.folder, data.splits, part)


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
    cases = cases_of_part(data.folder, data.splits, part)
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
