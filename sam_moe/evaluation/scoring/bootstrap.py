"""Bootstrap over patients, for rankings: how ranks vary with the patients that were drawn.

Cases of one patient, and structures of one case, resemble each other, so patients are drawn and not rows.
Means have no use for this: of few patients a percentile of resampled means is too narrow (`intervals.py`).
"""

from collections.abc import Sequence

import numpy as np

from sam_moe.shapes import Int

RESAMPLES = 1000


class Patients:
    """How often each patient is drawn in each resample; the same draws for all metrics and systems."""

    def __init__(self, patients: Sequence[str], resamples: int = RESAMPLES, seed: int = 0) -> None:
        self.names = tuple(sorted(set(patients)))
        self._place = {name: number for number, name in enumerate(self.names)}
        count = len(self.names)
        drawn = np.random.default_rng(seed).integers(max(count, 1), size=(resamples, count))
        self.draws = np.array([np.bincount(one, minlength=count) for one in drawn], dtype=np.float64)

    def of(self, patients: Sequence[str]) -> Int[np.ndarray, " rows"]:
        """The place of each row's patient among the names."""
        return np.array([self._place[name] for name in patients], dtype=np.int64)

    def resampled(self, patients: Sequence[str], number: int) -> Int[np.ndarray, " drawn"]:
        """The rows of one resample: those of a patient drawn twice stand there twice."""
        times = self.draws[number].astype(np.int64)[self.of(patients)]
        return np.repeat(np.arange(len(patients)), times)
