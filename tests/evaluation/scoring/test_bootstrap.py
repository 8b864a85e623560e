import numpy as np

from sam_moe.evaluation.scoring.bootstrap import Patients


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
    found = [values[drawn.resampled(rows, number)].mean() for number in range(40)]
    np.testing.assert_allclose(found, expected)
    assert set(expected) == set(by_hand.values())


def test_another_seed_draws_others():
    rows = [str(number) for number in range(9)]
    assert not np.array_equal(Patients(rows, seed=0).draws, Patients(rows, seed=1).draws)
