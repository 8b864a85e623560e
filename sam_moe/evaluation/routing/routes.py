"""A gate run on cases: each prompt of a prompt set, or of labelled scans a click and a box a structure.

Labelled scans are read, prompted and answered as in an evaluation, by its protocols `click` and `box`.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sam_moe.cases.dataset import IGNORE, LabelledCase, read_dataset
from sam_moe.cases.reading import read_image, read_labels
from sam_moe.errors import ConfigError, PromptError, SamMoeError
from sam_moe.evaluation.asking.conversation import converse
from sam_moe.evaluation.asking.protocols import SIMULATED
from sam_moe.evaluation.asking.systems import ModelUnderTest, Reply
from sam_moe.evaluation.asking.targets import targets_of
from sam_moe.evaluation.asking.unread import reason_of
from sam_moe.evaluation.challenge.challenge import Case, open_case
from sam_moe.evaluation.routing.record import Route, Routes
from sam_moe.evaluation.scoring.metrics import dice
from sam_moe.predict.files.manifest import read_prompts
from sam_moe.progress import Progress
from sam_moe.prompts.promptset import PromptCase

log = logging.getLogger(__name__)

SCRIPTS = (SIMULATED["click"], SIMULATED["box"])
_IMAGE = "image"


@dataclass(frozen=True)
class Recorded:
    """A scan with recorded prompts."""

    id: str
    scan: Path
    prompts: PromptCase


def cases_in(source: Path) -> list[LabelledCase | Recorded]:
    """The cases of a prompt set (or of a `.run.json`), or of a folder of labelled scans (`cases/dataset.py`).

    A case of a folder that has no image is left out, with a remark.

    Raises:
        SamMoeError: for what is neither, or has no case with an image.
    """
    if not source.is_dir():
        prompts = read_prompts(source)
        return [Recorded(case.image, source.parent / case.image, case) for case in prompts.cases]
    known = read_dataset(source)
    bare = [case.id for case in known if case.image is None]
    if bare:
        log.warning("%s: %d cases have no image and are left out: %s", source, len(bare), ", ".join(bare[:5]))
    if len(bare) == len(known):
        raise PromptError(f"{source}: has no case with an image; there is nothing to prompt. Add images.")
    return [case for case in known if case.image is not None]


def route(
    system: ModelUnderTest, cases: Sequence[LabelledCase | Recorded], progress: Progress, seed: int = 0
) -> Routes:
    """Run a mixture on every prompt of these cases; `seed` is that of the boxes.

    Raises:
        ConfigError: for a model without a gate.
        SamMoeError: where nothing at all was answered, for the first reason.
    """
    found: list[Route] = []
    first: SamMoeError | None = None
    for number, case in enumerate(cases):
        progress(f"case {number + 1} of {len(cases)}", number / len(cases))
        try:
            answers = _recorded(system, case) if isinstance(case, Recorded) else _labelled(system, case, seed)
            found += answers
        except ConfigError:
            raise
        except Exception as error:  # damaged files raise whatever they spell: a row, and the others go on
            log.debug("%s cannot be read", case.id, exc_info=True)
            first = first or (error if isinstance(error, SamMoeError) else None)
            found.append(Route(case.id, "", "", error=reason_of(error)))
    answered = [route for route in found if not route.error]
    if not answered:
        reason = found[0].error if found else "the cases have no prompts"
        raise first or ConfigError(f"no prompt was answered: {reason}")
    return Routes(system.id, tuple(answered[0].confidence), tuple(found))


def as_case(labelled: LabelledCase) -> Case:
    """A labelled scan as a case of an evaluation: all structures of its label map, in the order of values.

    Values of one name are one structure; the voxels of `ignore` were not annotated.
    """
    assert labelled.image is not None, "cases without an image are left out"
    labels: dict[str, tuple[int, ...]] = {}
    for value in read_labels(labelled.label).array.unique().tolist():
        if value > 0:
            name = labelled.name_of(int(value))
            labels[name] = (*labels.get(name, ()), int(value))
    ignored = labels.pop(IGNORE, ())
    return Case(
        labelled.id,
        labelled.patient or labelled.id,
        {_IMAGE: labelled.image},
        _IMAGE,
        labelled.label,
        {},
        labels,
        ignored=ignored,
    )


def _labelled(system: ModelUnderTest, labelled: LabelledCase, seed: int) -> Iterator[Route]:
    case = as_case(labelled)
    opened = open_case(case)
    system.open(opened.scan)
    for target in targets_of(case, opened, seed):
        for script in SCRIPTS:
            (turn,) = converse(system, script, target)
            if turn.status != "ok":
                yield Route(case.id, target.label, script.name, error=turn.reason)
                continue
            overlap = dice(target.truth, target.judged(turn.reply.mask))
            yield _route(system, (case.id, target.label, script.name), turn.reply, round(overlap, 4))


def _recorded(system: ModelUnderTest, case: Recorded) -> Iterator[Route]:
    system.open(read_image(case.scan))
    for target in case.prompts.targets:
        about = (case.id, target.name, "prompts")
        try:
            reply = system.answer_together(case.prompts.prompt(target).items)
        except SamMoeError as error:
            yield Route(*about, error=str(error))
        else:
            yield _route(system, about, reply, None)


def _route(system: ModelUnderTest, about: tuple[str, str, str], reply: Reply, overlap: float | None) -> Route:
    if not reply.answered:
        raise ConfigError(f"{system.id} is a model alone and has no gate. Give a gate's id or folder.")
    voxels = int(reply.mask.sum())
    return Route(
        *about, reply.answered, reply.confidence, reply.why, reply.regions, voxels=voxels, dice=overlap
    )
