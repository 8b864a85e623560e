"""Ways to an interval of a mean over few patients, for `coverage.py` to hold against each other."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy import stats

from benchmarks.intervals.populations import Sample
from sam_moe.evaluation.scoring.intervals import UNBOUNDED, Bounds, interval

Interval = tuple[float, float] | None
Method = Callable[[Sample, Bounds, int, np.random.Generator], Interval]
_EDGES = (2.5, 97.5)


class _Tables:
    """A sample as sums and counts of each patient in each structure, and resamples of it."""

    def __init__(self, drawn: Sample) -> None:
        structures = np.unique(drawn.structures, return_inverse=True)[1]
        shape = (int(drawn.patients.max()) + 1, int(structures.max()) + 1)
        at = drawn.patients * shape[1] + structures
        self.count = np.bincount(at, minlength=shape[0] * shape[1]).reshape(shape).astype(float)
        self.total = np.bincount(at, drawn.values, shape[0] * shape[1]).reshape(shape)
        self.sets = np.zeros(shape[0], dtype=int)
        self.sets[drawn.patients] = drawn.sets
        self.mean = float((self.total.sum(0) / self.count.sum(0)).mean())

    def draws(self, resamples: int, rng: np.random.Generator) -> Float[np.ndarray, "resamples patients"]:
        """How often each patient is drawn, within their set."""
        found = np.zeros((resamples, len(self.sets)))
        for name in np.unique(self.sets):
            own = np.flatnonzero(self.sets == name)
            found[:, own] = rng.multinomial(len(own), np.full(len(own), 1 / len(own)), size=resamples)
        return found

    def means(self, draws: Float[np.ndarray, "resamples patients"]) -> Float[np.ndarray, " resamples"]:
        """The mean over those structures that were drawn."""
        count, total = draws @ self.count, draws @ self.total
        found: np.ndarray = np.nanmean(
            np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0), axis=1
        )
        return found

    def without(self) -> Float[np.ndarray, " patients"]:
        """The mean without each patient."""
        return self.means(1 - np.eye(len(self.sets)))

    def errors(self, draws: Float[np.ndarray, "resamples patients"]) -> Float[np.ndarray, " resamples"]:
        """The standard error of the mean of each resample, by its slope in each patient."""
        count, total = draws @ self.count, draws @ self.total
        seen = count > 0
        of_structure = np.divide(total, count, out=np.zeros_like(total), where=seen)
        slope = self.total[None] - self.count[None] * of_structure[:, None, :]
        slope = np.divide(slope, count[:, None, :], out=np.zeros_like(slope), where=seen[:, None, :])
        found: np.ndarray = np.sqrt((draws * (slope.sum(2) / seen.sum(1)[:, None]) ** 2).sum(1))
        return found


def percentile(drawn: Sample, bounds: Bounds, resamples: int, rng: np.random.Generator) -> Interval:
    """The middle of the means of resampled patients: what the tables had before."""
    tables = _Tables(drawn)
    return _pair(np.percentile(tables.means(tables.draws(resamples, rng)), _EDGES))


def hierarchical(drawn: Sample, bounds: Bounds, resamples: int, rng: np.random.Generator) -> Interval:
    """The same, with the targets of each drawn patient drawn again among them."""
    tables = _Tables(drawn)
    draws = tables.draws(resamples, rng)
    count, total = np.zeros((2, resamples, tables.count.shape[1]))
    structures = np.unique(drawn.structures, return_inverse=True)[1]
    for patient in range(len(tables.sets)):
        own = np.flatnonzero(drawn.patients == patient)
        again = rng.multinomial((draws[:, patient] * len(own)).astype(int), np.full(len(own), 1 / len(own)))
        for place, row in enumerate(own):
            count[:, structures[row]] += again[:, place]
            total[:, structures[row]] += again[:, place] * drawn.values[row]
    found = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    return _pair(np.percentile(np.nanmean(found, axis=1), _EDGES))


def bca(drawn: Sample, bounds: Bounds, resamples: int, rng: np.random.Generator) -> Interval:
    """Efron's percentiles, corrected for bias and acceleration (1987)."""
    tables = _Tables(drawn)
    means = tables.means(tables.draws(resamples, rng))
    below = np.clip((np.mean(means < tables.mean) + np.mean(means <= tables.mean)) / 2, 0.001, 0.999)
    bias, moved = stats.norm.ppf(below), tables.without()
    moved = moved.mean() - moved
    speed = (moved**3).sum() / (6 * max(float((moved**2).sum()), 1e-30) ** 1.5)
    z = bias + stats.norm.ppf([0.025, 0.975])
    return _pair(np.percentile(means, 100 * stats.norm.cdf(bias + z / (1 - speed * z))))


def studentised(drawn: Sample, bounds: Bounds, resamples: int, rng: np.random.Generator) -> Interval:
    """Bootstrap-t: each resample's distance from the mean in its own standard errors."""
    tables = _Tables(drawn)
    draws = tables.draws(resamples, rng)
    error, whole = tables.errors(draws), float(tables.errors(np.ones((1, len(tables.sets))))[0])
    known = error > 1e-9
    low, high = np.percentile((tables.means(draws[known]) - tables.mean) / error[known], _EDGES)
    return float(tables.mean - high * whole), float(tables.mean - low * whole)


def plain_t(drawn: Sample, bounds: Bounds, resamples: int, rng: np.random.Generator) -> Interval:
    """Cluster-robust standard error times n / (n - 1) in each set, Welch's t, on the plain scale."""
    tables = _Tables(drawn)
    slope = (tables.total - tables.count * tables.total.sum(0) / tables.count.sum(0)) / tables.count.sum(0)
    size = np.bincount(tables.sets)
    spread = np.bincount(tables.sets, slope.mean(1) ** 2) * size / np.maximum(size - 1, 1)
    freedom = spread.sum() ** 2 / (spread**2 / np.maximum(size - 1, 1)).sum()
    reach = float(stats.t.ppf(0.975, freedom) * np.sqrt(spread.sum()))
    return tables.mean - reach, tables.mean + reach


def jackknife_t(drawn: Sample, bounds: Bounds, resamples: int, rng: np.random.Generator) -> Interval:
    """Ours without its scale."""
    return _ours(drawn, UNBOUNDED)


def ours(drawn: Sample, bounds: Bounds, resamples: int, rng: np.random.Generator) -> Interval:
    """`sam_moe.evaluation.scoring.intervals.interval`."""
    return _ours(drawn, bounds)


def over_structures_too(drawn: Sample, bounds: Bounds, resamples: int, rng: np.random.Generator) -> Interval:
    """Ours about further structures as well."""
    return _ours(drawn, bounds, further=True)


def _ours(drawn: Sample, bounds: Bounds, further: bool = False) -> Interval:
    patients, structures, sets = (own.tolist() for own in (drawn.patients, drawn.structures, drawn.sets))
    return interval(drawn.values, patients, bounds, structures, sets, further_structures=further)


METHODS: dict[str, Method] = {
    "percentile": percentile,
    "hierarchical": hierarchical,
    "BCa": bca,
    "studentised": studentised,
    "t": plain_t,
    "jackknife t": jackknife_t,
    "ours": ours,
}
OF_STRUCTURES: dict[str, Method] = {"ours": ours, "ours, structures too": over_structures_too}


def _pair(edges: Float[np.ndarray, " 2"]) -> tuple[float, float]:
    return float(edges[0]), float(edges[1])
