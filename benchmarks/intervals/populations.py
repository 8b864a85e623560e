"""Patients without end, made of those behind the committed rows of `multiorgan`: what intervals are tried on.

A population is one set of patients under one system and prompt: Dice of each patient's structures, and which
of them a patient lacks. A drawn patient is one of the set, so that structures that fail together still do,
moved on the logit scale by noise that is a quarter of the variance; half of the noise is shared by a
patient's structures. Variances are those of the set; the mean of all is known by drawing very many.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import expit, logit

from benchmarks.cases import ROOT
from sam_moe.evaluation.results import ROWS, Row, read_rows

FOLDER = ROOT / "benchmarks" / "challenges" / "multiorgan" / "result"
NOISE, SHARED = 0.5, 0.5  # of the standard deviation; of the noise's variance
VERY_MANY = 100_000
_EDGE = 0.005  # Dice nearer to 0 or 1 is moved there, where logits end

Matrix = Float[np.ndarray, "patients columns"]


@dataclass(frozen=True)
class Sample:
    """Some patients' values, a row each, as `sam_moe.evaluation.scoring.intervals.interval` takes them."""

    values: Float[np.ndarray, " rows"]
    patients: Int[np.ndarray, " rows"]
    structures: Int[np.ndarray, " rows"]
    sets: Int[np.ndarray, " rows"]

    def mean(self) -> float:
        """The mean over structures."""
        own = [self.values[self.structures == name].mean() for name in np.unique(self.structures)]
        return float(np.mean(own))


class Population:
    """One set of patients, whose columns are targets such as the left kidney or a tumour on CT."""

    def __init__(self, dice: Matrix) -> None:
        self._logit = logit(np.clip(dice, _EDGE, 1 - _EDGE))
        seen = (~np.isnan(dice)).sum(axis=0)
        self.middle = np.nanmean(self._logit, axis=0)
        self._sd = np.nanstd(self._logit, axis=0, ddof=1)
        self._kept = np.sqrt((1 - NOISE**2) * seen / (seen - 1))

    def draw(self, count: int, rng: np.random.Generator) -> Matrix:
        """So many patients; NaN where one lacks a structure."""
        own = self._logit[rng.integers(len(self._logit), size=count)]
        noise = np.sqrt(SHARED) * rng.standard_normal((count, 1))
        noise = noise + np.sqrt(1 - SHARED) * rng.standard_normal(own.shape)
        found: np.ndarray = expit(self.middle + (own - self.middle) * self._kept + NOISE * self._sd * noise)
        return found


@cache
def _rows() -> tuple[Row, ...]:
    return read_rows(FOLDER / ROWS)


def table(system: str, prompt: str, group: str, labels: Sequence[str] = ()) -> tuple[Matrix, list[str]]:
    """Dice of a set's patients, a column each of `labels` (all without), and the labels of the columns."""
    found: dict[str, dict[tuple[str, str], float]] = {}
    for row in _rows():
        asked = (row.system, row.prompt, row.strata["set"]) == (system, prompt, group)
        if asked and (not labels or row.label in labels):
            found.setdefault(row.patient, {})[row.label, row.strata["modality"]] = row.dice
    columns = sorted({column for own in found.values() for column in own})
    dice = np.array([[own.get(column, np.nan) for column in columns] for own in found.values()])
    return dice, [label for label, _ in columns]


def sample(
    blocks: Sequence[Matrix], structures: Sequence[Sequence[int]], sets: Sequence[int] | None = None
) -> Sample:
    """The rows of drawn matrices, of which each has a number a column for its structure; a set each."""
    values, patients, names, homes, before = [], [], [], [], 0
    for number, (block, own) in enumerate(zip(blocks, structures, strict=True)):
        at: Bool[np.ndarray, "patients columns"] = ~np.isnan(block)
        who, column = np.nonzero(at)
        values.append(block[at])
        patients.append(who + before)
        names.append(np.array(own)[column])
        homes.append(np.full(len(who), number if sets is None else sets[number]))
        before += len(block)
    return Sample(*(np.concatenate(parts) for parts in (values, patients, names, homes)))
