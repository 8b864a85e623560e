"""Prepared cases in a run's folder: a file a case, mapped into memory, and a table of what each shows."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sam_moe.errors import ConfigError
from sam_moe.files import make_folder, replace_text, replacing, withdraw
from sam_moe.registry import DataSet
from sam_moe.shapes import Shaped, UInt8
from sam_moe.slices.stack import Stack
from sam_moe.space.grid import Grid
from sam_moe.training.slices.cases import Listed, Read
from sam_moe.training.slices.settings import Part

# Counts up when the same cases would be written otherwise.
CACHE_FORMAT = 1
_INDEX = "cases.json"


@dataclass(frozen=True)
class KeptCase:
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
        folder: where `write_cache` wrote them.
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


def cache_folder(run: Path, part: Part) -> Path:
    """Where a run keeps the prepared cases of one part."""
    return run / "slices" / part


def is_cache(folder: Path) -> bool:
    """Whether a folder holds prepared cases, all of them."""
    return (folder / _INDEX).is_file()


def origin_of(folder: Path) -> str:
    """What `write_cache` was given as the cases' origin; empty without a cache of this format."""
    try:
        index = _index(folder)
    except ConfigError:  # none, or not whole: it is written anew
        return ""
    return str(index.get("origin", "")) if index.get("format") == CACHE_FORMAT else ""


def write_cache(cases: Iterable[tuple[Listed, Read]], folder: Path, origin: str) -> None:
    """Write prepared cases, one in memory at a time; `origin` is what they were made from.

    A folder half written is no cache. The same cases give the same bytes.

    Raises:
        FileError: where they cannot be written.
    """
    make_folder(folder)
    withdraw(folder / _INDEX)
    kept = []
    for number, (case, read) in enumerate(cases):
        image, label = (t.permute(2, 0, 1).contiguous() for t in (read.stack.array.half(), read.labels))
        with replacing(_file(folder, number), (SafetensorError,)) as new:
            save_file({"image": image, "label": label}, new)
        kept.append(asdict(_described(case, read)))
    for number in range(len(kept), len(list(folder.glob("*.safetensors")))):
        withdraw(_file(folder, number))  # of a longer list before
    index = {"format": CACHE_FORMAT, "origin": origin, "cases": kept}
    replace_text(folder / _INDEX, json.dumps(index) + "\n")


def _described(case: Listed, read: Read) -> KeptCase:
    image = read.stack.array.half().float()
    spread = float(image.std(correction=0))
    shown = [
        tuple((read.labels == number).flatten(0, 1).any(dim=0).nonzero()[:, 0].tolist())
        for number in range(1, 1 + len(case.values))
    ]
    return KeptCase(
        set=case.set,
        id=case.id,
        contoured=read.contoured,
        affine=tuple(map(tuple, read.stack.grid.affine.tolist())),
        shown=tuple(shown),
        least=float(image.min()),
        most=float(image.max()),
        spread=spread if spread > 0 else 1.0,
    )


def _kept(entry: dict[str, Any]) -> KeptCase:
    return KeptCase(
        set=int(entry["set"]),
        id=str(entry["id"]),
        contoured=tuple(entry["contoured"]),
        affine=tuple(map(tuple, entry["affine"])),
        shown=tuple(map(tuple, entry["shown"])),
        least=float(entry["least"]),
        most=float(entry["most"]),
        spread=float(entry["spread"]),
    )


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number:05}.safetensors"


def _index(folder: Path) -> dict[str, Any]:
    path = folder / _INDEX
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path}: not readable as a table of prepared slices ({error}). Delete {folder} and start where "
            "the data is, to have it written again."
        ) from error
