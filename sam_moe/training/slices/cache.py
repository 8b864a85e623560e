"""Prepared cases in a run's folder: read once, memory-mapped when drawn, read anew when something changed."""

import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sam_moe.cases.dataset import LabelledCase
from sam_moe.errors import ConfigError
from sam_moe.files import make_folder, replace_text, replacing, withdraw
from sam_moe.progress import Progress, silent
from sam_moe.registry import DataSet
from sam_moe.shapes import Shaped, UInt8
from sam_moe.slices.stack import Stack
from sam_moe.space.grid import Grid
from sam_moe.training.scans.scan_files import content_of
from sam_moe.training.slices.cases import Listed, Read, list_cases, read_case
from sam_moe.training.slices.settings import Part, SliceData

log = logging.getLogger(__name__)

# Counts up when the same cases would be written otherwise.
CACHE_FORMAT = 1
_INDEX = "cases.json"


@dataclass(frozen=True)
class Kept:
    """What the cache knows of a case without its voxels.

    Args:
        set: place of its data set among the card's.
        id: its name.
        contoured: the background and each label of its data set: whether it is known where it is.
        affine: of its prepared grid, row by row.
        shown: for each label of its data set, the slices that show it.
        least: the least prepared number, which stands outside the scan.
        most: the greatest one.
        spread: the numbers' deviation; 1 for a scan without contrast.
    """

    set: int
    id: str
    contoured: tuple[bool, ...]
    affine: tuple[tuple[float, ...], ...]
    shown: tuple[tuple[int, ...], ...]
    least: float
    most: float
    spread: float


@dataclass(frozen=True, eq=False)
class Whole:
    """A case as a whole: `labels` are 0 for the background and n for the n-th label of its data set."""

    set: int
    id: str
    stack: Stack
    labels: UInt8[Tensor, "x y z"]
    contoured: tuple[bool, ...]


class SliceCache:
    """The prepared cases of one part, voxels mapped from files: small in memory, cheap to hand to workers.

    Args:
        folder: where `keep_slices` wrote them.
        sets: the data sets that they were prepared for.

    Raises:
        ConfigError: for a folder without a cache of this format.
    """

    def __init__(self, folder: Path, sets: Sequence[DataSet]) -> None:
        index = _index(folder)
        if index.get("format") != CACHE_FORMAT:
            raise ConfigError(
                f"{folder}: holds no prepared slices of format {CACHE_FORMAT}. Start where the data is, to "
                "have them written."
            )
        self.folder, self.sets, self.origin = folder, tuple(sets), str(index["origin"])
        self.cases = tuple(_kept(entry) for entry in index["cases"])
        self._open: dict[int, tuple[Tensor, Tensor]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}

    def voxels(self, number: int) -> tuple[Shaped[Tensor, "x y z"], UInt8[Tensor, "x y z"]]:
        """A case's prepared scan, as float16, and its labels: views of the file, each slice in one piece.

        Raises:
            ConfigError: for a file that is damaged or not there.
        """
        if number not in self._open:
            path = _file(self.folder, number)
            try:
                with safe_open(path, framework="pt") as file:
                    found = (file.get_tensor("image"), file.get_tensor("label"))
            except (OSError, SafetensorError) as error:
                raise ConfigError(
                    f"{path}: not readable as prepared slices ({' '.join(str(error).split())}). Delete "
                    f"{self.folder} and start where the data is, to have it written again."
                ) from error
            image, label = (tensor.permute(1, 2, 0) for tensor in found)
            self._open[number] = (image, label)
        return self._open[number]

    def wholes(self) -> Iterator[Whole]:
        """All cases, one after another, as whole stacks in float32."""
        for number, case in enumerate(self.cases):
            image, labels = self.voxels(number)
            x, y, z = image.shape
            stack = Stack(image.float(), Grid(np.array(case.affine), (x, y, z)))
            yield Whole(case.set, case.id, stack, labels, case.contoured)


def check_slices(data: SliceData, sets: Sequence[DataSet], run: Path) -> None:
    """Check that all cases can be found, before anything is written to the run's folder.

    Raises:
        ConfigError: for sources and data sets that do not belong together.
    """
    parts: tuple[Part, ...] = ("train", "validation")
    for part in parts:
        if not _taken_along(data, _folder(run, part)):
            list_cases(data, sets, part)


def keep_slices(
    data: SliceData, sets: Sequence[DataSet], part: Part, run: Path, progress: Progress = silent
) -> SliceCache:
    """Read the cases of one part into the run's folder, unless they are there as they would be read.

    They are read again where the chosen cases, their files, or the data sets' spacing, intensities or labels
    have changed. Where there is no data folder, a cache that was taken along serves if it was made with the
    same settings. One process reads; `progress` gets the share of cases that are read.

    Raises:
        ConfigError: as `check_slices`, and where a cache that was taken along is of other settings.
        FileError, GeometryError: for files that cannot be read, or not written.
    """
    folder = _folder(run, part)
    found = _origin(folder)
    settings = json.dumps([_prepared_by(each) for each in sets])
    if _taken_along(data, folder):
        if found.get("settings") != settings:
            raise ConfigError(
                f"{folder} was prepared with other settings of the data sets, and there is no {data.folder} "
                "to read them again from. Bring the data, or a cache made by this recipe."
            )
        return SliceCache(folder, sets)
    listed = list_cases(data, sets, part)
    make_folder(folder)
    origin = {"settings": settings, "cases": _chosen(listed), "files": _content(listed, sets, folder)}
    if found != json.loads(json.dumps(origin)):
        log.info("reading the %s part of %s", part, data.folder)
        _write(listed, sets, folder, json.dumps(origin), progress)
    return SliceCache(folder, sets)


def _write(
    listed: Sequence[Listed], sets: Sequence[DataSet], folder: Path, origin: str, progress: Progress
) -> None:
    withdraw(folder / _INDEX)  # what is half written is no cache
    kept = []
    for number, case in enumerate(listed):
        progress("reading scans", number / len(listed))
        read = read_case(case, sets[case.set])
        image, label = (t.permute(2, 0, 1).contiguous() for t in (read.stack.array.half(), read.labels))
        with replacing(_file(folder, number), (SafetensorError,)) as new:
            save_file({"image": image, "label": label}, new)
        kept.append(asdict(_described(case, read)))
    for path in folder.glob("*.safetensors"):
        if path.name not in {_file(folder, number).name for number in range(len(listed))}:
            withdraw(path)
    index = {"format": CACHE_FORMAT, "origin": origin, "cases": kept}
    replace_text(folder / _INDEX, json.dumps(index) + "\n")
    progress("reading scans", 1.0)


def _described(case: Listed, read: Read) -> Kept:
    image = read.stack.array.half().float()
    spread = float(image.std(correction=0))
    shown = [
        tuple((read.labels == number).flatten(0, 1).any(dim=0).nonzero()[:, 0].tolist())
        for number in range(1, 1 + len(case.values))
    ]
    return Kept(
        set=case.set,
        id=case.id,
        contoured=read.contoured,
        affine=tuple(map(tuple, read.stack.grid.affine.tolist())),
        shown=tuple(shown),
        least=float(image.min()),
        most=float(image.max()),
        spread=spread if spread > 0 else 1.0,
    )


def _kept(entry: dict[str, Any]) -> Kept:
    return Kept(
        set=int(entry["set"]),
        id=str(entry["id"]),
        contoured=tuple(entry["contoured"]),
        affine=tuple(map(tuple, entry["affine"])),
        shown=tuple(map(tuple, entry["shown"])),
        least=float(entry["least"]),
        most=float(entry["most"]),
        spread=float(entry["spread"]),
    )


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


def _folder(run: Path, part: Part) -> Path:
    return run / "slices" / part


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number:05}.safetensors"


def _taken_along(data: SliceData, folder: Path) -> bool:
    """Whether there is a cache, and nothing to read it again from."""
    return (folder / _INDEX).is_file() and not data.folder.is_dir()


def _origin(folder: Path) -> dict[str, Any]:
    try:
        index = _index(folder)
        return dict(json.loads(index["origin"])) if index.get("format") == CACHE_FORMAT else {}
    except (ConfigError, KeyError, ValueError):  # none, or not whole: it is written anew
        return {}


def _index(folder: Path) -> dict[str, Any]:
    path = folder / _INDEX
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path}: not readable as a table of prepared slices ({error}). Delete {folder} and start where "
            "the data is, to have it written again."
        ) from error
