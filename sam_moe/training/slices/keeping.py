"""The labelled scans of a recipe: found before the work, prepared once, prepared anew when changed."""

import json
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sam_moe.cases.dataset import LabelledCase
from sam_moe.errors import ConfigError
from sam_moe.files import make_folder
from sam_moe.progress import Progress, silent
from sam_moe.registry import DataSet
from sam_moe.training.scans.scan_files import content_of
from sam_moe.training.slices.cache import SliceCache, cache_folder, is_cache, origin_of, write_cache
from sam_moe.training.slices.cases import Listed, Read, list_cases, read_case
from sam_moe.training.slices.settings import PARTS, Part, SliceData

log = logging.getLogger(__name__)


def check_slices(data: SliceData, sets: Sequence[DataSet], run: Path) -> None:
    """Check that all cases can be found, before anything is written to the run's folder.

    Raises:
        ConfigError: for sources and data sets that do not belong together.
    """
    if not all(_taken_along(data, cache_folder(run, part)) for part in PARTS):
        list_cases(data, sets)


def keep_slices(
    data: SliceData, sets: Sequence[DataSet], part: Part, run: Path, progress: Progress = silent
) -> SliceCache:
    """Prepare the cases of one part in the run's folder, unless they are there as they would be prepared.

    They are read again where the chosen cases, their files, or the data sets' spacing, intensities or labels
    have changed. Where there is no data folder, a cache that was taken along serves if it was made with the
    same settings. `progress` gets the share of cases that are read. One process at a time.

    Raises:
        ConfigError: as `check_slices`, and where a cache that was taken along is of other settings.
        FileError, GeometryError: for files that cannot be read, or not written.
    """
    folder = cache_folder(run, part)
    settings = json.dumps([_prepared_by(each) for each in sets])
    found = _settled(origin_of(folder))
    if _taken_along(data, folder):
        if found.get("settings") != settings:
            raise ConfigError(
                f"{folder} was prepared with other settings of the data sets, and there is no {data.folder} "
                "to read them again from. Bring the data, or a cache made by this recipe."
            )
        return SliceCache(folder, sets)
    listed = list_cases(data, sets)[part]
    make_folder(folder)
    origin = json.dumps(
        {"settings": settings, "cases": _chosen(listed), "files": _content(listed, sets, folder)}
    )
    if found != _settled(origin):
        log.info("reading the %s part of %s", part, data.folder)
        write_cache(_read(listed, sets, progress), folder, origin)
    return SliceCache(folder, sets)


def _read(
    listed: Sequence[Listed], sets: Sequence[DataSet], progress: Progress
) -> Iterator[tuple[Listed, Read]]:
    for number, case in enumerate(listed):
        progress("reading scans", number / len(listed))
        yield case, read_case(case, sets[case.set])
    progress("reading scans", 1.0)


def _settled(origin: str) -> dict[str, Any]:
    try:
        return dict(json.loads(origin))
    except (ValueError, TypeError):  # none, or by hand: it is read anew
        return {}


def _chosen(listed: Sequence[Listed]) -> list[Any]:
    return [[case.set, case.id, case.series, case.values, case.missing_is_absent] for case in listed]


def _prepared_by(data_set: DataSet) -> dict[str, Any]:
    """What a case's voxels depend on; not titles, experts or distances."""
    described = data_set.model_dump(mode="json", include={"id", "spacing_mm", "intensity"})
    return {**described, "labels": [label.name for label in data_set.labels]}


def _content(listed: Sequence[Listed], sets: Sequence[DataSet], folder: Path) -> str:
    """A checksum over the cases' files, which a note beside the cache saves from being read each time."""
    cases = []
    for case in listed:
        image = case.found.images[case.series]
        if "#" in image.name and not image.exists():
            image = image.with_name(image.name.rpartition("#")[0])  # a channel of this file
        names = {value: name for name, values in case.found.names.items() for value in values}
        labelled = LabelledCase(case.id, case.found.truth.absolute(), image.absolute(), names)
        cases.append((sets[case.set].id, labelled))
    files = [str(file) for _, case in cases for file in (case.image, case.label)]
    common = Path(os.path.commonpath(files)) if files else Path()
    return content_of(cases, common, folder / "files.json")


def _taken_along(data: SliceData, folder: Path) -> bool:
    """Whether there is a cache, and nothing to read it again from."""
    return is_cache(folder) and not data.folder.is_dir()
