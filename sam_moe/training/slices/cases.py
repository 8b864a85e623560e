"""Which cases each data set has, and one of them read: prepared slices, labels in the head's order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sam_moe.cases.dataset import IGNORE
from sam_moe.cases.parts import choose
from sam_moe.cases.source import FoundCase
from sam_moe.config import nearest_first
from sam_moe.errors import ConfigError, GeometryError
from sam_moe.registry import DataSet
from sam_moe.shapes import UInt8
from sam_moe.slices.stack import Stack, prepare
from sam_moe.space.grid import same_grid
from sam_moe.space.volume import Volume, resample_labels
from sam_moe.training.slices.settings import PARTS, LabelledSource, Part, SliceData

Values = tuple[int, ...]

_HERE = Path()  # paths in recipes are from where you stand


@dataclass(frozen=True)
class Listed:
    """A case that was found, not yet read.

    Args:
        set: place of its data set among the card's.
        id: its name, with the source's prefix.
        patient: whose scan it is, with the prefix.
        found: its files.
        series: the one of its images that is taken.
        values: of each label of the data set, its values in the label map; none where its table lacks it.
        missing_is_absent: whether a label that the map lacks is not in the scan, or was not contoured.
    """

    set: int
    id: str
    patient: str
    found: FoundCase
    series: str
    values: tuple[Values, ...]
    missing_is_absent: bool


@dataclass(frozen=True, eq=False)
class Read:
    """A case as its data set prepares it.

    Args:
        stack: its slices.
        labels: on the same grid, 0 for the background, n for the data set's n-th label.
        contoured: the background and each label: whether it is known where it is.
    """

    stack: Stack
    labels: UInt8[Tensor, "x y z"]
    contoured: tuple[bool, ...]


def list_cases(data: SliceData, sets: Sequence[DataSet]) -> dict[Part, list[Listed]]:
    """The cases of both parts, data set after data set in the card's order; no scan is opened.

    Structures that a data set does not name are background, for example a target volume for radiotherapy:
    no head answers it, and its voxels belong to no other label.

    Raises:
        ConfigError: for data sets or cases that are not there, a label that no source has, two cases of one
            name, and a patient in both parts of a data set.
    """
    named = {each.id for each in sets}
    for wrong in [*(data.sets.keys() - named), *(named - data.sets.keys())]:
        known = ", ".join(nearest_first(wrong, sorted(named | data.sets.keys() - {wrong})))
        raise ConfigError(
            f"sets: {wrong!r} is in the recipe's sources or among the model's data sets, not in both. "
            f"Expected sources for each data set; known, nearest first: {known}."
        )
    listed: dict[Part, list[Listed]] = {part: [] for part in PARTS}
    for number, data_set in enumerate(sets):
        parts = {part: _of_set(data, number, data_set, part) for part in listed}
        _all_named(data_set, parts["train"])
        _none_in_both(data_set, parts)
        for part, own in parts.items():
            listed[part] += own
    return listed


def read_case(case: Listed, data_set: DataSet) -> Read:
    """Read and prepare one case; labels are those of the nearest voxel.

    Raises:
        FileError, GeometryError: for files that cannot be read or do not lie on one grid.
    """
    from sam_moe.cases.reading import read_image, read_labels  # only here: a cache needs no image libraries

    scan = read_image(case.found.images[case.series])
    truth = read_labels(case.found.truth, scan.grid)
    if not truth.grid.same_as(scan.grid) and truth.grid.same_places(scan.grid):
        truth = resample_labels(truth, scan.grid)  # to the bit: each centre is a voxel's centre
    try:
        same_grid(scan.grid, truth.grid)
    except GeometryError as error:
        raise GeometryError(f"{case.id}: {error}") from error
    labels = torch.zeros(truth.array.shape, dtype=torch.uint8)
    contoured = [True]
    for number, values in enumerate(case.values, start=1):
        mask = torch.isin(truth.array, torch.tensor(values, dtype=truth.array.dtype))
        labels[mask] = number
        contoured.append(bool(values) and (case.missing_is_absent or bool(mask.any())))
    stack = prepare(scan, data_set)
    return Read(stack, resample_labels(Volume(labels, truth.grid), stack.grid).array, tuple(contoured))


def _root(data: SliceData, source: LabelledSource) -> Path:
    """Where a source lies: in the data folder, or from where you stand where its root begins with a dot."""
    return (_HERE if source.root.startswith(".") else data.folder) / source.root


def _listed(number: int, data_set: DataSet, source: LabelledSource, found: FoundCase) -> Listed:
    series = source.series or next(iter(found.images))
    if series not in found.images:
        raise ConfigError(
            f"{source.root}: the case {found.case} has no series {series!r}. Expected one of: "
            f"{', '.join(found.images)}; mend `series`."
        )
    names = [label.name for label in data_set.labels]
    if unknown := sorted((source.labels or {}).keys() - set(names)):
        raise ConfigError(
            f"{source.root}: labels: {unknown[0]!r} is no label of {data_set.id}. Expected one of: "
            f"{', '.join(nearest_first(unknown[0], names))}."
        )
    values = tuple(_values(name, source.labels or {}, found) for name in names)
    taken: dict[int, str] = dict.fromkeys(found.names.get(IGNORE, ()), IGNORE)
    for name, own in zip(names, values, strict=True):
        for value in own:
            if value in taken or value == 0:
                raise ConfigError(
                    f"{source.root}: the value {value} of {found.case} is given to {name} and to "
                    f"{taken.get(value, 'the background')}. A voxel has one label: leave it with one of them."
                )
            taken[value] = name
    if found.names.get(IGNORE):
        raise ConfigError(
            f"{source.root}: {found.case} has voxels called {IGNORE!r}, which were not annotated. Expected "
            "label maps of whole scans; leave its cases out."
        )
    return Listed(
        set=number,
        id=source.prefix + found.case,
        patient=source.prefix + found.patient,
        found=found,
        series=series,
        values=values,
        missing_is_absent=source.missing == "absent",
    )


def _values(name: str, renamed: Mapping[str, tuple[int | str, ...]], found: FoundCase) -> Values:
    """The values of a data set's label in a case's map; none where its table lacks it."""
    own = [found.names.get(v, ()) if isinstance(v, str) else (v,) for v in renamed.get(name) or (name,)]
    return tuple(dict.fromkeys(value for values in own for value in values))


def _of_set(data: SliceData, number: int, data_set: DataSet, part: Part) -> list[Listed]:
    own = [
        _listed(number, data_set, source, found)
        for source in data.sets[data_set.id].of(part)
        for found in choose(source, _root(data, source), folder=_HERE)
    ]
    names = [case.id for case in own]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(
            f"{data_set.id}: {len(twice)} cases have one name, such as {twice[0]}. Give one of the sources a "
            "`prefix`."
        )
    return own


def _all_named(data_set: DataSet, own: Sequence[Listed]) -> None:
    known = {name for case in own for name in case.found.names} - {IGNORE}
    for number, label in enumerate(data_set.labels):
        if not any(case.values[number] for case in own):
            near = ", ".join(nearest_first(label.name, sorted(known))[:8]) or "they have none"
            raise ConfigError(
                f"{data_set.id}: no case to learn from names {label.name!r}. The sources' own names, nearest "
                f"first: {near}. Rename one in a source's `labels`, or leave the label out of the data set."
            )


def _none_in_both(data_set: DataSet, parts: Mapping[Part, Sequence[Listed]]) -> None:
    learnt, held_out = ({case.patient for case in own} for own in parts.values())
    if both := sorted(learnt & held_out):
        raise ConfigError(
            f"{data_set.id}: {len(both)} patients are learnt from and validated on, such as {both[0]}. "
            "Expected each patient in one of the two; mend `part` or `splits`, or give a source of others a "
            "`prefix`."
        )
