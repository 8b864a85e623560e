"""Cases to ask a model about: those of a prompt set, or of a labelled data folder with simulated prompts."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sam_moe.cases.dataset import IGNORE, LabelledCase, read_dataset
from sam_moe.errors import PromptError
from sam_moe.predict.files.manifest import read_prompts
from sam_moe.prompts.prompt import Prompt
from sam_moe.prompts.promptset import PromptCase
from sam_moe.prompts.simulate import box_around, centre_point
from sam_moe.space.files import read_label_map, same_grid
from sam_moe.space.volume import Volume, resample_labels

log = logging.getLogger(__name__)

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
    """A scan and where its questions come from: recorded prompts, or a label map."""

    name: str
    scan: Path
    recorded: PromptCase | None = None
    truth: LabelledCase | None = None
    seed: int = 0

    def questions(self, scan: Volume) -> Iterator[Question]:
        """Recorded prompts as they are; of each labelled structure a centre click and a jittered box.

        What a set calls `ignore` was not annotated and is no structure.

        Raises:
            GeometryError: for a label map on another grid than the scan's.
        """
        if self.recorded is not None:
            for target in self.recorded.targets:
                yield Question(target.name, "prompts", self.recorded.prompt(target))
            return
        assert self.truth is not None
        label = read_label_map(self.truth.label)
        if not label.grid.same_as(scan.grid) and label.grid.same_places(scan.grid):
            label = resample_labels(label, scan.grid)  # the same voxels, axes in another order
        same_grid(scan.grid, label.grid)
        rng = np.random.default_rng([self.seed, *self.name.encode()])
        for value in sorted(int(v) for v in np.unique(label.array.numpy()) if v > 0):
            mask = label.array == value
            truth = Volume(mask, label.grid)
            structure = self.truth.name_of(value)
            if structure == IGNORE:
                continue
            click = centre_point(mask.numpy(), label.grid.spacing_mm)
            yield Question(structure, "click", Prompt((click,)), truth)
            yield Question(structure, "box", Prompt((box_around(mask.numpy(), rng, _JITTER),)), truth)


def cases_of(source: Path, seed: int = 0) -> list[Case]:
    """The cases of a prompt set (or of a `.run.json`), or of a folder of labelled scans (`space.dataset`).

    A case of a data folder that has no image is left out, with a remark.

    Raises:
        SamMoeError: for what is neither, or has no case to ask about.
    """
    if source.is_dir():
        return _of_folder(source, seed)
    prompts = read_prompts(source)
    return [Case(case.image, source.parent / case.image, case) for case in prompts.cases]


def _of_folder(folder: Path, seed: int) -> list[Case]:
    known = read_dataset(folder)
    bare = [case.id for case in known if case.image is None]
    if bare:
        log.warning("%s: %d cases have no image and are left out: %s", folder, len(bare), ", ".join(bare[:5]))
    found = [Case(case.id, case.image, truth=case, seed=seed) for case in known if case.image is not None]
    if not found:
        raise PromptError(f"{folder}: has no case with an image; there is nothing to ask about.")
    return found
