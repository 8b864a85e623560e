"""A grand-challenge submission rehearsed on one's own cases, through the files of both of its containers."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from sam_moe.errors import ConfigError
from sam_moe.evaluation.asking.unread import reason_of, unread_rows
from sam_moe.evaluation.challenge.challenge import Case, Opened, open_case
from sam_moe.evaluation.grand_challenge.container import (
    interfaces_for,
    read_inputs,
    write_inputs,
    write_jobs,
    write_output,
)
from sam_moe.evaluation.grand_challenge.judging import IGNORED, judge, truths_of
from sam_moe.evaluation.results import GIVEN, Row
from sam_moe.evaluation.scoring.metrics import TOLERANCE_MM
from sam_moe.files import check_writable, make_folder, new_folder, sweep
from sam_moe.shapes import Shaped
from sam_moe.space.files import read, write_mask
from sam_moe.space.volume import Volume

log = logging.getLogger(__name__)

GROUND_TRUTH = "ground-truth"

# The case with the one structure it has, and the scan that the container was given, with the truth for a
# simulated user alone; out comes a mask.
Answer = Callable[[Case, Opened], Shaped[Tensor, "i j k"]]


def rehearse(
    cases: Sequence[Case],
    answer: Answer,
    folder: Path,
    tolerance_mm: float = TOLERANCE_MM,
    system: str = "submission",
) -> list[Row]:
    """Run every case through an algorithm's `input` and `output`, then judge them as the evaluation does.

    `folder` gets `algorithm/<case>/input` and `/output`, `ground-truth/<case>`, `input` with
    `predictions.json`, and `output/metrics.json`. A case whose answer raises an error has a job
    without a mask; one that cannot be read is in no container, and its row has failed.

    Raises:
        ConfigError: for a folder that is not empty, or a case with more than one structure, for which these
            containers have no place.
    """
    check_new(folder)
    with new_folder(folder) as made:  # killed meanwhile, it is cleared by the next start
        return _through(cases, answer, made, tolerance_mm, system)


def check_new(folder: Path) -> None:
    """See that a folder is new or empty, and can be made.

    Raises:
        ConfigError: for one that is not empty.
        FileError: where it cannot be made.
    """
    make_folder(folder.parent)
    check_writable(folder.parent)
    sweep(folder.parent)
    if folder.exists():
        if any(folder.iterdir()):
            raise ConfigError(f"{folder}: not empty. Expected a new folder; a container starts from nothing.")
        folder.rmdir()


def _through(
    cases: Sequence[Case], answer: Answer, folder: Path, tolerance_mm: float, system: str
) -> list[Row]:
    interfaces = interfaces_for([*cases[0].images]).model_copy(update={"id_parts": ()})
    answers: dict[str, tuple[str, Path | None]] = {}
    structures: dict[str, str] = {}
    unread: list[Row] = []
    for case in cases:
        try:
            opened = open_case(case)
        except Exception as error:  # a damaged file can raise whatever its bytes spell
            log.warning("%s: %s", case.id, reason_of(error))
            unread += unread_rows(case, {system: (GIVEN,)}, reason_of(error))
            continue
        masks = opened.truths
        if len(masks) != 1:
            raise ConfigError(
                f"{case.id}: has the structures {', '.join(masks) or 'none'}. Expected one, as a container's "
                "answer is one mask; leave the others out of the challenge's labels."
            )
        ((structure, truth),) = masks.items()
        structures[case.id] = structure
        _keep_truth(folder / GROUND_TRUTH / case.id, opened, truth)
        inside, outside = (folder / "algorithm" / case.id / name for name in ("input", "output"))
        try:
            write_inputs(case.images, inside, interfaces)
            given = replace(opened, scan=read(read_inputs(inside, interfaces)[case.reference]))
            alone = replace(case, labels={structure: case.labels[structure]})
            mask = write_output(answer(alone, given), given.scan.grid, outside, interfaces)
        except Exception as error:  # whatever a system does wrong with a case is that case's result
            log.warning("%s: no answer: %s", case.id, reason_of(error))
            mask = None
        answers[case.id] = (f"{case.id}.mha", mask)
    if not answers:
        raise ConfigError(f"none of the {len(cases)} cases can be read: {unread[0].reason}")
    write_jobs(answers, folder / "input", interfaces)
    rows = judge(
        truths_of(folder / GROUND_TRUTH),
        folder / "input",
        folder / "output",
        interfaces,
        tolerance_mm,
        system,
    )
    about = {case.id: (case, structures[case.id]) for case in cases if case.id in structures}
    return [*(_as_asked(row, *about[row.case]) for row in rows), *unread]


def _keep_truth(folder: Path, opened: Opened, truth: Volume) -> None:
    """Write a truth as the evaluation's container has it: 0, 1, and what was not annotated."""
    labels = truth.array.to(torch.uint8)
    if opened.ignored is not None:
        labels[torch.from_numpy(opened.ignored)] = IGNORED
    make_folder(folder)
    write_mask(folder / "truth.mha", labels, truth.grid)


def _as_asked(row: Row, case: Case, structure: str) -> Row:
    """A judged row with what only the challenge knows: whose scan, which structure, which strata."""
    changes = {"patient": case.patient, "label": structure, "strata": dict(case.strata)}
    return row.model_copy(update=changes)
