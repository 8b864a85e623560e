"""Result files follow from the files of finished cases: believed only as theirs, gone before one changes.

Killed at any time, an evaluation leaves no figures of other data than its case files are made of: rows,
record and report are withdrawn before a case is run again, and what stands at a start is held against
the cases once more.
"""

import hashlib
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from sam_moe.errors import SamMoeError
from sam_moe.evaluation.asking.casefile import SETUP, case_path, file_name
from sam_moe.evaluation.asking.locks import clear
from sam_moe.evaluation.results import (
    CASES,
    PREDICTIONS,
    PROMPTS,
    REPORT,
    RESULT,
    ROWS,
    ResultFolder,
    Row,
    read_result,
)
from sam_moe.files import sweep, withdraw
from sam_moe.ownership import is_ours, recorded_prompts

_PROMPTS_OF_SEVERAL = "prompts"


def digest_of(out: Path, cases: Iterable[str], more: str = "") -> str:
    """A digest of what a result follows from: its setup, and every case's file; `more` of what else."""
    found = hashlib.sha256(more.encode())
    for path in (out / SETUP, *(case_path(out, case) for case in cases)):
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def standing(out: Path, rows: Sequence[Row], digest: str) -> ResultFolder | None:
    """The result that is there, if it is whole and follows from these rows and this digest; else None."""
    if not all((out / name).is_file() for name in (ROWS, RESULT, REPORT)):
        return None
    try:
        found = read_result(out)
    except SamMoeError:  # an older format, or spoilt: written again
        return None
    return found if found.result.made_from == digest and found.rows == tuple(rows) else None


def withdraw_result(out: Path) -> None:
    """Remove all that follows from the cases: the record first, without which nothing else is believed.

    Raises:
        FileError: where it cannot be removed.
    """
    for name in (RESULT, REPORT, ROWS, PROMPTS):
        withdraw(out / name)
    for path in (out / _PROMPTS_OF_SEVERAL).glob("*.json"):
        if is_ours(path, recorded_prompts):
            withdraw(path)


def remove_masks(out: Path, systems: Iterable[str]) -> None:
    """Remove these systems' masks, and the folder of masks itself if nothing else is in it."""
    for id in systems:
        shutil.rmtree(out / PREDICTIONS / file_name(id), ignore_errors=True)
    with suppress(OSError):
        (out / PREDICTIONS).rmdir()


def forget(out: Path, cases: Iterable[str]) -> None:
    """Remove what there is of cases that are run anew: kept masks first, then the case's file.

    Raises:
        FileError: where it cannot be removed.
    """
    for case in cases:
        for folder in (out / PREDICTIONS).glob("*/"):
            for ending in (".nii.gz", ".labels.json"):
                withdraw(folder / f"{file_name(case)}{ending}")
        withdraw(case_path(out, case))


def tidy(out: Path, finished: bool, passing: Iterable[str] = ()) -> None:
    """Remove what killed processes left half written; of a finished evaluation its locks, too.

    `passing` are the systems whose masks were not to be kept.

    What a living process writes stays. In a folder that is closed to us all stays.
    """
    for folder in (out, out / CASES, out / _PROMPTS_OF_SEVERAL, *(out / PREDICTIONS).glob("*/")):
        sweep(folder)
    if finished:
        clear(out / CASES)
        remove_masks(out, passing)
