"""A grand-challenge submission rehearsed on one's own cases, through the files of both of its containers."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from sam_moe.errors import ConfigError, SamMoeError
from sam_moe.evaluation.challenge import Case, read_case
from sam_moe.evaluation.container import interfaces_for, read_inputs, write_inputs, write_jobs, write_output
from sam_moe.evaluation.judging import judge, truths_of
from sam_moe.evaluation.metrics import TOLERANCE_MM
from sam_moe.evaluation.results import Row
from sam_moe.shapes import Shaped
from sam_moe.space.files import read, write_mask
from sam_moe.space.volume import Volume

log = logging.getLogger(__name__)

GROUND_TRUTH = "ground-truth"

# The case with the one structure it has, the scan that the container was given and, for a simulated user
# alone, the truth; out comes a mask.
Answer = Callable[[Case, Volume, Volume], Shaped[Tensor, "i j k"]]


def rehearse(
    cases: Sequence[Case],
    answer: Answer,
    folder: Path,
    tolerance_mm: float = TOLERANCE_MM,
    system: str = "submission",
) -> list[Row]:
    """Run every case through an algorithm's `input` and `output`, then judge them as the evaluation does.

    `folder` gets `algorithm/<case>/input` and `/output`, `ground-truth/<case>`, `input` with
    `predictions.json`, and `output/metrics.json`. A case whose answer raises one of our errors has a job
    without a mask.

    Raises:
        ConfigError: for a folder that is not empty, or a case with more than one structure, for which these
            containers have no place.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder}: not empty. Expected a new folder; a container starts from nothing.")
    interfaces = interfaces_for([*cases[0].images]).model_copy(update={"id_parts": ()})
    answers: dict[str, tuple[str, Path | None]] = {}
    structures: dict[str, str] = {}
    for case in cases:
        _, masks = read_case(case)
        if len(masks) != 1:
            raise ConfigError(
                f"{case.id}: has the structures {', '.join(masks) or 'none'}. Expected one, as a container's "
                "answer is one mask; leave the others out of the challenge's labels."
            )
        ((structure, truth),) = masks.items()
        structures[case.id] = structure
        kept = folder / GROUND_TRUTH / case.id
        kept.mkdir(parents=True, exist_ok=True)
        write_mask(kept / "truth.mha", truth.array, truth.grid)
        inside, outside = (folder / "algorithm" / case.id / name for name in ("input", "output"))
        write_inputs(case.images, inside, interfaces)
        given = read(read_inputs(inside, interfaces)[case.reference])
        try:
            alone = replace(case, labels={structure: case.labels[structure]})
            mask = write_output(answer(alone, given, truth), given.grid, outside, interfaces)
        except SamMoeError as error:
            log.warning("%s: no answer: %s", case.id, error)
            mask = None
        answers[case.id] = (f"{case.id}.mha", mask)
    write_jobs(answers, folder / "input", interfaces)
    rows = judge(
        truths_of(folder / GROUND_TRUTH),
        folder / "input",
        folder / "output",
        interfaces,
        tolerance_mm,
        system,
    )
    about = {case.id: (case, structures[case.id]) for case in cases}
    return [_as_asked(row, *about[row.case]) for row in rows]


def _as_asked(row: Row, case: Case, structure: str) -> Row:
    """A judged row with what only the challenge knows: whose scan, which structure, which strata."""
    changes = {"patient": case.patient, "label": structure, "strata": dict(case.strata)}
    return row.model_copy(update=changes)
