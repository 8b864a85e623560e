"""Drawn patients: spread and gaps are those of the set, and rows carry their structures and sets."""

import numpy as np
import pytest
from scipy.special import expit, logit

from benchmarks.intervals import populations
from benchmarks.intervals.populations import Population, sample


def matrix(rows=12, columns=3, seed=0):
    rng = np.random.default_rng(seed)
    shared = rng.normal(0, 0.7, (rows, 1))
    return expit(np.array([0.5, 1.0, 2.0])[:columns] + shared + rng.normal(0, 0.3, (rows, columns)))


def test_the_spread_of_drawn_patients_is_the_sets_own():
    dice = matrix()
    drawn = logit(Population(dice).draw(40_000, np.random.default_rng(1)))
    np.testing.assert_allclose(drawn.std(axis=0), logit(dice).std(axis=0, ddof=1), rtol=0.03)
    np.testing.assert_allclose(drawn.mean(axis=0), logit(dice).mean(axis=0), atol=0.02)


def test_structures_that_fail_together_still_do():
    drawn = logit(Population(matrix()).draw(20_000, np.random.default_rng(1)))
    assert np.corrcoef(drawn.T)[0, 1] > 0.5


def test_what_patients_lack_drawn_patients_lack_as_often():
    dice = matrix()
    dice[:4, 1] = np.nan
    drawn = Population(dice).draw(20_000, np.random.default_rng(1))
    assert np.isnan(drawn[:, 1]).mean() == pytest.approx(4 / 12, abs=0.02)
    assert not np.isnan(drawn[:, 0]).any()


def test_dice_of_nothing_and_of_everything_stay_inside_the_range():
    dice = matrix()
    dice[0, 0], dice[1, 0] = 0.0, 1.0
    drawn = Population(dice).draw(1_000, np.random.default_rng(1))
    assert drawn.min() > 0 and drawn.max() < 1


def test_a_sample_has_a_row_for_each_value_that_is_there():
    first, second = np.array([[0.1, np.nan], [0.2, 0.3]]), np.array([[0.9]])
    drawn = sample([first, second], [[0, 1], [2]])
    assert drawn.values.tolist() == [0.1, 0.2, 0.3, 0.9]
    assert drawn.patients.tolist() == [0, 1, 1, 2]
    assert drawn.structures.tolist() == [0, 0, 1, 2]
    assert drawn.sets.tolist() == [0, 0, 0, 1]
    assert drawn.mean() == pytest.approx((0.15 + 0.3 + 0.9) / 3)


def test_matrices_may_be_of_one_set():
    drawn = sample([np.array([[0.5]]), np.array([[0.7]])], [[0], [0]], sets=[3, 3])
    assert drawn.sets.tolist() == [3, 3] and drawn.mean() == pytest.approx(0.6)


def test_the_committed_rows_have_the_patients_of_the_page():
    dice, columns = populations.table("small", "click1", "abdomen", ("liver",))
    assert dice.shape == (4, 1) and columns == ["liver"] and ((dice >= 0) & (dice <= 1)).all()
    dice, columns = populations.table("small", "box", "head and neck", ("parotid_left", "parotid_right"))
    assert dice.shape[0] == 12 and sorted(columns) == ["parotid_left", "parotid_right"]
