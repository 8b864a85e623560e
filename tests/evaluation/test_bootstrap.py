import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sam_moe.evaluation.bootstrap import Patients


def test_every_resample_draws_as_many_patients_as_there_are():
    drawn = Patients(["a", "b", "b", "c"], resamples=50)
    assert drawn.names == ("a", "b", "c")
    assert drawn.draws.shape == (50, 3)
    assert set(drawn.draws.sum(axis=1)) == {3}


def test_a_resample_takes_all_rows_of_a_patient_or_none():
    # a has rows 0 and 2; b has row 1. Worked by hand: the mean is that of the rows that were drawn.
    rows, values = ["a", "b", "a"], np.array([1.0, 4.0, 2.0])
    drawn = Patients(rows, resamples=40)
    by_hand = {(2, 0): 1.5, (1, 1): 7 / 3, (0, 2): 4.0}
    expected = [by_hand[int(a), int(b)] for a, b in drawn.draws]
    np.testing.assert_allclose(drawn.means(values, rows), expected)
    assert set(expected) == set(by_hand.values())
    again = [values[drawn.resampled(rows, number)].mean() for number in range(40)]
    np.testing.assert_allclose(again, expected)


def test_intervals_agree_with_scipy(rng):
    # SciPy's bootstrap of a ratio of sums over patients is the same estimate by another road.
    patients = [f"p{number}" for number in rng.integers(0, 25, size=90)]
    values = rng.beta(4, 2, size=90)
    names = sorted(set(patients))
    totals = np.array([values[np.array(patients) == name].sum() for name in names])
    counts = np.array([patients.count(name) for name in names])
    found = stats.bootstrap(
        (totals, counts),
        lambda total, count, axis: total.sum(axis=axis) / count.sum(axis=axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=20_000,
        rng=rng,
    ).confidence_interval
    ours = Patients(patients, resamples=20_000).interval(values, patients)
    np.testing.assert_allclose(ours, (found.low, found.high), atol=0.002)


def test_copies_of_the_same_patients_narrow_nothing(rng):
    patients = [f"p{number}" for number in range(12)]
    values = rng.random(12)
    once = Patients(patients).interval(values, patients)
    thrice = Patients(patients * 3).interval(np.tile(values, 3), patients * 3)
    assert once == pytest.approx(thrice)


def test_two_patients_have_no_interval():
    rows = ["a", "a", "b"]
    assert Patients(rows).interval(np.array([0.1, 0.5, 0.9]), rows) is None


def test_a_rare_structure_has_the_interval_of_its_own_patients():
    # Three of fifty patients have it: many resamples have none of them and are left out, not counted as 0.
    every, own = [f"p{number}" for number in range(50)], ["p0", "p1", "p2"]
    low, high = Patients(every).interval(np.array([0.5, 0.6, 0.7]), own)
    assert 0.5 <= low < 0.6 < high <= 0.7


@given(st.lists(st.floats(0, 1), min_size=3, max_size=9), st.integers(0, 3))
def test_an_interval_lies_among_the_values_and_is_the_same_again(values, seed):
    patients = [str(number) for number in range(len(values))]
    found = Patients(patients, seed=seed).interval(np.array(values), patients)
    assert found == Patients(patients, seed=seed).interval(np.array(values), patients)
    assert min(values) - 1e-12 <= found[0] <= found[1] <= max(values) + 1e-12


def test_another_seed_draws_others():
    rows = [str(number) for number in range(9)]
    assert not np.array_equal(Patients(rows, seed=0).draws, Patients(rows, seed=1).draws)
