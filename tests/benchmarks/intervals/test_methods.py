"""Intervals by hand and by SciPy, on samples of one structure and one set."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchmarks.intervals import methods
from benchmarks.intervals.populations import Sample
from sam_moe.evaluation.scoring.intervals import SHARE

VALUES = np.array([0.6, 0.7, 0.75, 0.9, 0.55])


def sample(values, patients=None, structures=None, sets=None):
    rows = len(values)
    patients = np.arange(rows) if patients is None else np.array(patients)
    structures = np.zeros(rows, dtype=int) if structures is None else np.array(structures)
    sets = np.zeros(rows, dtype=int) if sets is None else np.array(sets)
    return Sample(np.array(values, dtype=float), patients, structures, sets)


def rng():
    return np.random.default_rng(0)


def test_the_mean_is_one_over_structures():
    tables = methods._Tables(sample([1.0, 0.0, 0.2], [0, 1, 0], [5, 5, 9]))
    assert tables.mean == pytest.approx((0.5 + 0.2) / 2)


def test_without_a_patient_is_the_mean_of_the_others():
    tables = methods._Tables(sample([0.2, 0.4, 0.9]))
    np.testing.assert_allclose(tables.without(), [0.65, 0.55, 0.3])


def test_patients_are_drawn_within_their_set():
    tables = methods._Tables(sample(np.ones(5), sets=[0, 0, 1, 1, 1]))
    draws = tables.draws(50, rng())
    assert (draws[:, :2].sum(1) == 2).all() and (draws[:, 2:].sum(1) == 3).all()
    assert len(np.unique(draws, axis=0)) > 10


def test_a_structure_that_is_not_drawn_is_in_no_mean():
    tables = methods._Tables(sample([0.2, 0.8], [0, 1], [0, 1]))
    np.testing.assert_allclose(tables.means(np.array([[2.0, 0.0], [1.0, 1.0]])), [0.2, 0.5])


def test_the_plain_interval_is_students_with_one_spread_more():
    low, high = methods.plain_t(sample(VALUES), SHARE, 0, rng())
    # The cluster-robust variance is sum of squares / n², times n / (n - 1): the squared standard error.
    reach = stats.t.ppf(0.975, 4) * stats.sem(VALUES)
    assert (low, high) == pytest.approx((VALUES.mean() - reach, VALUES.mean() + reach))


def test_the_jackknife_is_wider_by_the_root_of_n_over_n_minus_one():
    low, high = methods.jackknife_t(sample(VALUES), SHARE, 0, rng())
    reach = stats.t.ppf(0.975, 4) * stats.sem(VALUES) * np.sqrt(5 / 4)
    assert (low, high) == pytest.approx((VALUES.mean() - reach, VALUES.mean() + reach))


def test_the_percentiles_are_those_of_scipy():
    theirs = stats.bootstrap((VALUES,), np.mean, n_resamples=20_000, method="percentile", rng=rng())
    found = methods.percentile(sample(VALUES), SHARE, 20_000, rng())
    assert found == pytest.approx(tuple(theirs.confidence_interval), abs=0.005)


def test_the_accelerated_percentiles_are_those_of_scipy():
    values = rng().beta(6, 2, size=9)  # means on no lattice
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="BCa", rng=rng())
    found = methods.bca(sample(values), SHARE, 20_000, rng())
    assert found == pytest.approx(tuple(theirs.confidence_interval), abs=0.008)


def test_one_target_a_patient_leaves_nothing_to_draw_within():
    found = methods.hierarchical(sample(VALUES), SHARE, 20_000, rng())
    assert found == pytest.approx(methods.percentile(sample(VALUES), SHARE, 20_000, rng()), abs=0.01)


def test_targets_that_differ_within_patients_widen_the_hierarchical_interval():
    values, patients = [0.1, 0.9] * 4, [0, 0, 1, 1, 2, 2, 3, 3]
    low, high = methods.percentile(sample(values, patients), SHARE, 500, rng())
    wide = methods.hierarchical(sample(values, patients), SHARE, 500, rng())
    assert low == high == pytest.approx(0.5) and wide[0] < 0.4 and wide[1] > 0.6


@settings(max_examples=25)
@given(st.lists(st.floats(0.05, 0.95), min_size=4, max_size=9, unique=True))
def test_every_method_holds_the_samples_own_mean(values):
    drawn = sample(values)
    if np.std(values) < 0.01:
        return
    for name, method in methods.METHODS.items():
        found = method(drawn, SHARE, 400, rng())
        assert found is not None and found[0] <= np.mean(values) + 1e-9 <= found[1] + 2e-9, name
