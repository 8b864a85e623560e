"""Intervals over few patients: against SciPy where it knows the same, else by brute force."""

from math import inf, log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sam_moe.errors import ConfigError
from sam_moe.evaluation.scoring.intervals import AMOUNT, DIFFERENCE, SHARE, UNBOUNDED, interval


def logit(share):
    return log(share / (1 - share))


@pytest.mark.parametrize("count", [3, 4, 12, 60])
def test_patients_of_equal_weight_have_scipys_t_with_one_more_patients_spread(count, rng):
    values = rng.normal(5, 2, count)
    scale = stats.sem(values) * sqrt(count / (count - 1))
    expected = stats.t.interval(0.95, count - 1, values.mean(), scale)
    np.testing.assert_allclose(interval(values, range(count)), expected)


def test_shares_are_scaled_as_logits_and_amounts_as_logarithms(rng):
    values = rng.beta(8, 2, 6)
    scale, t = stats.sem(values) * sqrt(6 / 5), stats.t.ppf(0.975, 5)
    mean = values.mean()
    low, high = interval(values, range(6), SHARE)
    reach = t * scale / (mean * (1 - mean))
    assert (logit(low), logit(high)) == pytest.approx((logit(mean) - reach, logit(mean) + reach))
    low, high = interval(values, range(6), AMOUNT)
    reach = t * scale / mean
    assert (log(low), log(high)) == pytest.approx((log(mean) - reach, log(mean) + reach))


def test_the_spread_is_how_far_the_mean_moves_without_each_patient(rng):
    # Brute force: the mean over structures, computed again with one patient's rows away.
    patients = np.array(list("aaabbbbccddddee"))
    structures = np.array(list("xyzxxyzxzxyyzyz"))
    values = rng.random(len(patients))

    def mean(kept):
        own = [values[kept & (structures == name)].mean() for name in "xyz"]
        return np.mean(own)

    whole = mean(np.ones(len(values), dtype=bool))
    moved = [whole - mean(patients != name) for name in "abcde"]
    reach = stats.t.ppf(0.975, 4) * np.linalg.norm(moved)
    found = interval(values, list(patients), UNBOUNDED, list(structures))
    assert found == pytest.approx((whole - reach, whole + reach))


def test_two_sets_have_welchs_degrees_of_freedom(rng):
    # Two structures of seven patients each, of two sets: SciPy's degrees of freedom of Welch's test.
    one, other = rng.normal(0, 1, 7), rng.normal(3, 4, 7)
    welch = stats.ttest_ind(one, other, equal_var=False)
    scale = sqrt((stats.sem(one) ** 2 + stats.sem(other) ** 2) * 7 / 6) / 2
    middle = (one.mean() + other.mean()) / 2
    names = ["one"] * 7 + ["other"] * 7
    low, high = interval(np.append(one, other), [*range(7), *range(7)], UNBOUNDED, names, names)
    t = stats.t.ppf(0.975, welch.df)
    assert (low, high) == pytest.approx((middle - t * scale, middle + t * scale))
    assert 6 < welch.df < 12


def test_structures_that_rise_together_are_no_further_patients(rng):
    effect = rng.normal(0.5, 0.05, 5)
    once = interval(effect, range(5), SHARE)
    values, names = np.tile(effect, 3), np.repeat(["x", "y", "z"], 5).tolist()
    assert interval(values, list(range(5)) * 3, SHARE, names) == pytest.approx(once)
    assert interval(values, list(range(5)) * 3, SHARE) == pytest.approx(once)


def test_with_further_structures_each_of_them_is_left_out_as_well(rng):
    names, patients = np.repeat(list("wxyz"), 6), np.tile(np.arange(6), 4)
    values = np.repeat(rng.normal(0, 3, 4), 6) + rng.normal(0, 1, 24)
    by_structure = values.reshape(4, 6).mean(axis=1)
    by_patient = values.reshape(4, 6).mean(axis=0)
    mean = values.mean()
    one = ((mean - [np.delete(by_patient, n).mean() for n in range(6)]) ** 2).sum()
    other = ((mean - [np.delete(by_structure, n).mean() for n in range(4)]) ** 2).sum()
    freedom = (one + other) ** 2 / (one**2 / 5 + other**2 / 3)
    reach = stats.t.ppf(0.975, freedom) * sqrt(one + other)
    found = interval(values, patients.tolist(), UNBOUNDED, names.tolist(), further_structures=True)
    assert found == pytest.approx((mean - reach, mean + reach))
    two = names < "y"
    few = (values[two], patients[two].tolist(), UNBOUNDED, names[two].tolist())
    assert interval(*few) is not None
    assert interval(*few, further_structures=True) is None


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_patients_have_no_interval_however_many_rows(count):
    values = np.linspace(0.2, 0.9, 12)
    assert interval(values, [n % count for n in range(12)], SHARE) is None


def test_no_rows_have_no_interval():
    assert interval(np.array([]), [], SHARE) is None


@pytest.mark.parametrize("value", [0.0, 0.1, 0.7, 1.0])
@pytest.mark.parametrize("bounds", [SHARE, AMOUNT, UNBOUNDED])
def test_where_all_patients_are_alike_there_is_none_instead_of_a_point(value, bounds):
    assert interval(np.full(8, value), list("aabbccdd"), bounds) is None
    assert interval(np.tile([value, 0.3], 4), list("aabbccdd"), bounds) is None  # alike, their rows are not


def test_a_structure_of_one_patient_leaves_none():
    values = np.array([0.5, 0.6, 0.7, 0.9])
    assert interval(values, list("abca"), SHARE, list("xxxy")) is None
    assert interval(values, list("abca"), SHARE) is not None


def test_sets_of_two_patients_leave_none_and_names_are_of_a_set():
    values = np.array([0.5, 0.6, 0.7, 0.9])
    assert interval(values, list("abab"), SHARE, None, list("xxyy")) is None
    assert interval(np.append(values, 0.8), list("ababc"), SHARE, None, list("xxyyy")) is not None


def test_an_interval_reaches_further_to_the_side_of_a_rare_failure():
    low, high = interval(np.array([0.93, 0.95, 0.90, 0.97]), range(4), SHARE)
    assert 0.9375 - low > high - 0.9375 > 0


def test_a_patient_with_nearly_all_rows_is_one_patient():
    alone = interval(np.array([0.9] * 50 + [0.2, 0.3]), ["a"] * 50 + ["b", "c"], SHARE)
    assert alone[0] < 0.25 and alone[1] > 0.9


def test_an_amount_that_might_be_anything_has_none():
    assert interval(np.array([0.01] * 500 + [90.0, 80.0]), ["a"] * 500 + ["b", "c"], AMOUNT) is None


@pytest.mark.parametrize("wrong", [float("nan"), inf, 1.5, -0.1])
def test_values_that_are_none_are_refused(wrong):
    with pytest.raises(ConfigError, match="between 0 and 1"):
        interval(np.array([0.5, 0.6, wrong]), range(3), SHARE)
    if wrong < -1 or wrong > 1:
        with pytest.raises(ConfigError):
            interval(np.array([0.5, 0.6, wrong]), range(3), DIFFERENCE)


def test_rows_and_their_patients_are_of_one_length():
    with pytest.raises(ConfigError, match="3 values, but 2 structures"):
        interval(np.array([0.5, 0.6, 0.7]), range(3), SHARE, ["x", "x"])


@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 5)), min_size=1, max_size=20),
    st.sampled_from([SHARE, AMOUNT, DIFFERENCE]),
)
def test_an_interval_holds_the_mean_and_stays_within_its_bounds(rows, bounds):
    values, patients = np.array([value for value, _ in rows]), [patient for _, patient in rows]
    found = interval(values, patients, bounds)
    assert found == interval(values, patients, bounds)
    if found is not None:
        assert bounds[0] <= found[0] <= values.mean() <= found[1] <= bounds[1]
        assert np.isfinite(found).all()


@given(st.permutations(range(9)))
def test_the_order_of_rows_changes_nothing(order):
    values = np.array([0.1, 0.5, 0.4, 0.8, 0.9, 0.2, 0.7, 0.3, 0.6])
    patients, names = list("abcdabcda"), list("xxxxyyyyy")
    found = interval(values[order], [patients[n] for n in order], SHARE, [names[n] for n in order])
    assert found == pytest.approx(interval(values, patients, SHARE, names))
