"""Intervals over patients: what else a mean could have been, had other patients come.

Cases of one patient, and structures of one case, resemble each other, so patients are drawn and not rows.
"""

from collections.abc import Sequence

import numpy as np

from sam_moe.shapes import Float, Int

RESAMPLES = 1000
LEAST_PATIENTS = 3
LEVEL = 0.95


class Patients:
    """How often each patient is drawn in each resample; the same draws for whatever is asked of them."""

    def __init__(self, patients: Sequence[str], resamples: int = RESAMPLES, seed: int = 0) -> None:
        self.names = tuple(sorted(set(patients)))
        self._place = {name: number for number, name in enumerate(self.names)}
        count = len(self.names)
        drawn = np.random.default_rng(seed).integers(max(count, 1), size=(resamples, count))
        self.draws = np.array([np.bincount(one, minlength=count) for one in drawn], dtype=np.float64)

    def of(self, patients: Sequence[str]) -> Int[np.ndarray, " rows"]:
        """The place of each row's patient among the names."""
        return np.array([self._place[name] for name in patients], dtype=np.int64)

    def means(
        self, values: Float[np.ndarray, " rows"], patients: Sequence[str]
    ) -> Float[np.ndarray, " resamples"]:
        """The mean over rows in each resample; NaN where none of their patients was drawn."""
        place, count = self.of(patients), len(self.names)
        total = self.draws @ np.bincount(place, weights=values, minlength=count)
        rows = self.draws @ np.bincount(place, minlength=count)
        found: np.ndarray = np.divide(total, rows, out=np.full_like(total, np.nan), where=rows > 0)
        return found

    def interval(
        self, values: Float[np.ndarray, " rows"], patients: Sequence[str], level: float = LEVEL
    ) -> tuple[float, float] | None:
        """The middle of the resampled means (percentile bootstrap); None for fewer than three patients.

        Two patients have three resamples, whose spread says nothing. Resamples without any row of these
        (a rare structure) are left out.
        """
        if len(set(patients)) < LEAST_PATIENTS:
            return None
        edges = (100 * (1 - level) / 2, 100 * (1 + level) / 2)
        low, high = np.nanpercentile(self.means(values, patients), edges).tolist()
        return low, high

    def resampled(self, patients: Sequence[str], number: int) -> Int[np.ndarray, " drawn"]:
        """The rows of one resample: those of a patient drawn twice stand there twice."""
        times = self.draws[number].astype(np.int64)[self.of(patients)]
        return np.repeat(np.arange(len(patients)), times)
