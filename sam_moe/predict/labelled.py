"""Cases to ask a model about: those of a prompt set, or of a labelled data folder with simulated prompts."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sam_moe.config import read_object
from sam_moe.errors import FileError, PromptError
from sam_moe.predict.manifest import read_prompts
from sam_moe.prompts.prompt import Prompt
from sam_moe.prompts.promptset import PromptCase
from sam_moe.prompts.simulate import box_around, centre_point
from sam_moe.space.files import read, same_grid
from sam_moe.space.volume import Volume

log = logging.getLogger(__name__)

DATASET = "dataset.json"
_JITTER = 0.1  # a person's box: each side up to a tenth of the edge in or out


@dataclass(frozen=True)
class Question:
    """One prompt about one structure; `truth` where labels are known."""

    structure: str
    kind: str
    prompt: Prompt
    truth: Volume | None = None


@dataclass(frozen=True)
class Case:
    """A scan and where its questions come from: recorded prompts, or a label map and its names."""

    name: str
    scan: Path
    recorded: PromptCase | None = None
    label: Path | None = None
    names: Mapping[int, str] | None = None
    seed: int = 0

    def questions(self, scan: Volume) -> Iterator[Question]:
        """Recorded prompts as they are; of each labelled structure a centre click and a jittered box.

        Raises:
            GeometryError: for a label map on another grid than the scan's.
        """
        if self.recorded is not None:
            for target in self.recorded.targets:
                yield Question(target.name, "prompts", self.recorded.prompt(target))
            return
        assert self.label is not None and self.names is not None
        label = read(self.label)
        same_grid(scan.grid, label.grid)
        rng = np.random.default_rng([self.seed, *self.name.encode()])
        for value in sorted(int(v) for v in np.unique(label.array.numpy()) if v > 0):
            mask = label.array == value
            truth = Volume(mask, label.grid)
            structure = self.names.get(value, f"label {value}")
            click = centre_point(mask.numpy(), label.grid.spacing_mm)
            yield Question(structure, "click", Prompt((click,)), truth)
            yield Question(structure, "box", Prompt((box_around(mask.numpy(), rng, _JITTER),)), truth)


def cases_of(source: Path, seed: int = 0) -> list[Case]:
    """The cases of a prompt set (or of a `.run.json`), or of a data folder with a `dataset.json`.

    A case of a data folder that has no image is left out, with a remark.

    Raises:
        SamMoeError: for what is neither, or has no case to ask about.
    """
    if source.is_dir():
        return _of_folder(source, seed)
    prompts = read_prompts(source)
    return [Case(case.image, source.parent / case.image, case) for case in prompts.cases]


def _of_folder(folder: Path, seed: int) -> list[Case]:
    path = folder / DATASET
    if not path.is_file():
        raise FileError(f"{folder}: has no {DATASET}. Give a folder with one, or the file of a prompt set.")
    dataset = read_object(path, FileError)
    found, bare = [], []
    for number, case in enumerate(_list(dataset.get("cases"))):
        try:
            name, label = str(case["id"]), folder / str(case["label"])
        except (KeyError, TypeError) as error:
            raise FileError(
                f"{path}: cases[{number}]: expected 'id', 'image' and 'label'; add them."
            ) from error
        if "image" not in case:
            bare.append(name)
            continue
        names = _names(path, dataset, case)
        found.append(Case(name, folder / str(case["image"]), label=label, names=names, seed=seed))
    if bare:
        log.warning("%s: %d cases have no image and are left out: %s", path, len(bare), ", ".join(bare[:5]))
    if not found:
        raise PromptError(f"{path}: has no case with an image; there is nothing to ask about.")
    return found


def _names(path: Path, dataset: Mapping[str, Any], case: Mapping[str, Any]) -> dict[int, str]:
    """Structures by value: the case's own names, else the set's."""
    try:
        if own := case.get("label_names"):
            return {int(value): str(name) for value, name in own.items()}
        common = dataset.get("labels")
        return {int(value): str(name) for name, value in common.items()} if isinstance(common, dict) else {}
    except (AttributeError, TypeError, ValueError) as error:
        raise FileError(
            f'{path}: labels of a case: expected {{"liver": 1}}, or label_names {{"1": "liver"}}; mend them.'
        ) from error


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
