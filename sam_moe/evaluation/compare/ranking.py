"""Rankings of systems by several rules, their bootstrap over patients, and paired tests.

Several rules are in use and they disagree, so all are computed (Maier-Hein et al., Nature Communications
2018; Wiesenfarth et al., Scientific Reports 2021). Values are given so that more is better.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from scipy import stats

from sam_moe.evaluation.scoring.bootstrap import Patients
from sam_moe.evaluation.scoring.intervals import LEAST_PATIENTS, UNBOUNDED, Bounds, interval
from sam_moe.shapes import Float

Values = Float[np.ndarray, "metrics systems targets"]
Scores = Float[np.ndarray, " systems"]
_DIGITS = 9  # sums in another order must not make a difference where there is none


@dataclass(frozen=True)
class Scheme:
    """A rule that turns values, and their ranks in each target, into one score a system; least is best."""

    name: str
    title: str
    text: str
    score: Callable[[Values, Values], Scores]


@dataclass(frozen=True)
class Ranking:
    """Systems ranked by one rule, and their ranks in every resample of patients."""

    scheme: Scheme
    systems: tuple[str, ...]
    scores: Scores
    ranks: Float[np.ndarray, " systems"]
    resampled: Float[np.ndarray, "resamples systems"]
    taus: Float[np.ndarray, " resamples"]  # NaN where all systems tie

    @property
    def best_first(self) -> tuple[str, ...]:
        """The systems by rank, those that tie in the order they were given."""
        return tuple(self.systems[place] for place in np.argsort(self.ranks, kind="stable"))

    @property
    def tau(self) -> tuple[float, float, float] | None:
        """Kendall's tau-b between this ranking and the resampled ones: mean, 2.5 and 97.5 %.

        None where all systems tie, or too few patients were there to draw from.
        """
        known = self.taus[~np.isnan(self.taus)]
        if not len(known):
            return None
        low, high = np.percentile(known, (2.5, 97.5)).tolist()
        return float(known.mean()), low, high

    def interval(self, system: str) -> tuple[float, float] | None:
        """The ranks that hold the middle 95 % of a system's resampled ranks."""
        if not len(self.resampled):
            return None
        own = self.resampled[:, self.systems.index(system)]
        low, high = np.percentile(own, (2.5, 97.5), method="inverted_cdf").tolist()
        return low, high

    def frequencies(self, system: str) -> dict[int, float]:
        """In which share of the resamples a system had which rank."""
        own = self.resampled[:, self.systems.index(system)]
        found, counts = np.unique(own, return_counts=True)
        return {int(rank): float(count / len(own)) for rank, count in zip(found, counts, strict=True)}


@dataclass(frozen=True)
class Pair:
    """Two systems in one metric: mean difference over patients, and Wilcoxon's p before and after Holm.

    `ci95` is the interval of the difference; none for fewer than three patients, or where all differ alike.
    """

    metric: str
    one: str
    other: str
    difference: float
    patients: int
    p: float
    p_holm: float = 1.0
    ci95: tuple[float, float] | None = None


def places(values: Float[np.ndarray, "*axes"], axis: int) -> Float[np.ndarray, "*axes"]:
    """Ranks along an axis, the greatest value first; those that tie all get the least of their ranks.

    >>> places(np.array([0.5, 0.9, 0.5, 0.1]), axis=0).tolist()
    [2.0, 1.0, 2.0, 4.0]
    """
    ranks: np.ndarray = stats.rankdata(-np.round(values, _DIGITS), method="min", axis=axis).astype(np.float64)
    return ranks


def _rank_then_aggregate(values: Values, ranks: Values) -> Scores:
    score: np.ndarray = ranks.mean(axis=(0, 2))
    return score


def _aggregate_then_rank(values: Values, ranks: Values) -> Scores:
    score: np.ndarray = places(values.mean(axis=2), axis=1).mean(axis=0)
    return score


def _mean_of_positions(values: Values, ranks: Values) -> Scores:
    score: np.ndarray = places(np.median(values, axis=2), axis=1).mean(axis=0)
    return score


def _scaled(values: Values, ranks: Values) -> Scores:
    means = values.mean(axis=2)
    best, worst = means.max(axis=1, keepdims=True), means.min(axis=1, keepdims=True)
    room = best - worst
    apart = room > 10.0**-_DIGITS
    score: np.ndarray = np.where(apart, (best - means) / np.where(apart, room, 1), 0.0).mean(axis=0)
    return score


SCHEMES: Mapping[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        Scheme(
            "rank-then-aggregate",
            "Rank, then aggregate",
            "In each target and metric systems are ranked; the score is the mean of these ranks. What counts "
            "is how often a system is ahead, not by how much.",
            _rank_then_aggregate,
        ),
        Scheme(
            "aggregate-then-rank",
            "Aggregate, then rank",
            "In each metric systems are ranked by their mean over targets; the score is the mean of these "
            "ranks over metrics.",
            _aggregate_then_rank,
        ),
        Scheme(
            "mean-of-positions",
            "Mean of positions",
            "In each metric systems get a position by their median over targets, the figure that SPPIN 2023 "
            "publishes; the score is the mean of the positions.",
            _mean_of_positions,
        ),
        Scheme(
            "scaled",
            "Scaled ranks, 0 to 1",
            "In each metric the best mean is 0, the worst 1, the others between by their distance; the score "
            "is the mean over metrics (Kuijf et al., IEEE TMI 2019).",
            _scaled,
        ),
    )
}


def rank(
    values: Values, systems: Sequence[str], owners: Sequence[str], scheme: Scheme, patients: Patients
) -> Ranking:
    """Rank systems by a rule, and again in every resample of the patients, the owners of the targets.

    Ties take the least rank. With fewer than three patients nothing is resampled.
    """
    ranks_within = places(values, axis=1)
    scores = scheme.score(values, ranks_within)
    ranks = places(-scores, axis=0)
    resampled = np.empty((0, len(systems)))
    if len(patients.names) >= LEAST_PATIENTS:
        drawn = (patients.resampled(owners, number) for number in range(len(patients.draws)))
        found = [scheme.score(values[..., own], ranks_within[..., own]) for own in drawn]
        resampled = places(-np.array(found), axis=1)
    return Ranking(scheme, tuple(systems), scores, ranks, resampled, _taus(ranks, resampled))


def _taus(
    ranks: Float[np.ndarray, " systems"], resampled: Float[np.ndarray, "resamples systems"]
) -> Float[np.ndarray, " resamples"]:
    """Kendall's tau-b of every resample's ranks with those of all patients; each ranking computed once."""
    if not len(resampled):
        return np.empty(0)
    distinct, back = np.unique(resampled, axis=0, return_inverse=True)
    found = np.array([stats.kendalltau(ranks, other, variant="b").statistic for other in distinct], float)
    taus: np.ndarray = found[back.ravel()]
    return taus


def compared(
    metric: str,
    values: Float[np.ndarray, "systems targets"],
    systems: Sequence[str],
    owners: Sequence[str],
    bounds: Bounds = UNBOUNDED,
) -> tuple[Pair, ...]:
    """Every pair of systems by Wilcoxon's signed-rank test, two-sided, corrected by Holm over the pairs.

    A patient is one observation, the mean of their targets: structures of one scan are not independent.
    Patients without a difference are dropped, as Wilcoxon did; where none is left, p is 1. `bounds` are those
    of a difference, for its interval.
    """
    place, count = np.unique(np.array(list(owners)), return_inverse=True)[1], len(set(owners))
    by_patient = np.array(
        [np.bincount(place, own, count) / np.bincount(place, minlength=count) for own in values]
    )
    found = []
    for one, other in combinations(range(len(systems)), 2):
        apart = np.round(by_patient[one] - by_patient[other], _DIGITS)
        p = float(stats.wilcoxon(apart).pvalue) if apart.any() else 1.0
        ci95 = interval(apart, range(count), bounds)
        found.append(Pair(metric, systems[one], systems[other], float(apart.mean()), count, p, ci95=ci95))
    corrected = holm([pair.p for pair in found])
    return tuple(replace(pair, p_holm=p) for pair, p in zip(found, corrected, strict=True))


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p-values that keep the chance of any false alarm among all tests (Holm 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p, kind="stable")
    steps = np.arange(len(p), 0, -1) * np.array(p, dtype=float)[order]
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted.tolist()
