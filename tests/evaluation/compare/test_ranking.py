import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from sam_moe.evaluation.compare.ranking import SCHEMES, compared, holm, places, rank
from sam_moe.evaluation.scoring.bootstrap import Patients

# One metric, three systems, four targets. b is best on the mean, but a is ahead three times out of four.
ONE = np.array([[[0.9, 0.9, 0.9, 0.1], [0.8, 0.8, 0.8, 0.8], [0.1, 0.2, 0.3, 0.4]]])
SYSTEMS = ("a", "b", "c")
OWNERS = ("p", "q", "r", "s")


def ranked(values, name, resamples=100):
    return rank(values, SYSTEMS, OWNERS, SCHEMES[name], Patients(OWNERS, resamples))


def test_those_that_tie_take_the_least_of_their_ranks():
    assert places(np.array([0.5, 0.9, 0.5, 0.1, 0.5]), axis=0).tolist() == [2, 1, 2, 5, 2]


def test_rank_then_aggregate_by_hand():
    # Ranks by target: a 1 1 1 3, b 2 2 2 1, c 3 3 3 2.
    found = ranked(ONE, "rank-then-aggregate")
    assert found.scores.tolist() == [1.5, 1.75, 2.75]
    assert found.best_first == ("a", "b", "c")


def test_aggregate_then_rank_by_hand_turns_the_first_two_around():
    # Means: a 0.7, b 0.8, c 0.25.
    found = ranked(ONE, "aggregate-then-rank")
    assert found.ranks.tolist() == [2, 1, 3]
    assert found.best_first == ("b", "a", "c")


def test_mean_of_positions_goes_by_the_median():
    # Medians: a 0.9, b 0.8, c 0.25.
    assert ranked(ONE, "mean-of-positions").scores.tolist() == [1, 2, 3]


def test_scaled_ranks_by_hand():
    # Means 0.7, 0.8, 0.25: a is (0.8 - 0.7) / (0.8 - 0.25) from the best.
    np.testing.assert_allclose(ranked(ONE, "scaled").scores, [0.1 / 0.55, 0, 1])


def test_two_metrics_weigh_alike():
    # In the second metric, an error in mm given as its negative, the order is c, b, a in every target.
    second = -np.array([[[30.0] * 4, [20.0] * 4, [10.0] * 4]])
    both = np.concatenate([ONE, second])
    # Positions 1 2 3 and 3 2 1: all tie, and take the least rank.
    found = ranked(both, "mean-of-positions")
    assert found.scores.tolist() == [2, 2, 2]
    assert found.ranks.tolist() == [1, 1, 1]
    assert found.tau is None
    np.testing.assert_allclose(ranked(both, "scaled").scores, [(0.1 / 0.55 + 1) / 2, 0.25, 0.5])
    assert ranked(both, "rank-then-aggregate").scores.tolist() == [
        (1.5 + 3) / 2,
        (1.75 + 2) / 2,
        (2.75 + 1) / 2,
    ]


@pytest.mark.parametrize("name", SCHEMES)
def test_a_system_that_is_always_ahead_is_first_in_every_resample(name):
    values = np.stack([[[0.9, 0.8, 0.7, 0.6], [0.5, 0.4, 0.3, 0.2], [0.1, 0.1, 0.1, 0.1]]] * 2)
    found = ranked(values, name)
    assert found.ranks.tolist() == [1, 2, 3]
    assert found.frequencies("a") == {1: 1.0}
    assert found.interval("c") == (3, 3)
    assert found.tau == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("name", SCHEMES)
@settings(max_examples=20)
@given(values=arrays(float, (2, 3, 4), elements=st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])))
def test_the_order_in_which_systems_are_given_changes_nothing(name, values):
    found, turned = (ranked(array, name, resamples=3) for array in (values, values[:, ::-1]))
    np.testing.assert_allclose(found.scores, turned.scores[::-1])
    assert found.ranks.tolist() == turned.ranks[::-1].tolist()


@pytest.mark.parametrize("name", SCHEMES)
def test_a_resample_is_ranked_as_if_its_patients_were_all(name, rng):
    owners = ["p", "p", "q", "r", "r", "r"]
    values = rng.random((2, 3, 6))
    patients = Patients(owners, resamples=20)
    found = rank(values, SYSTEMS, owners, SCHEMES[name], patients)
    for number, draws in enumerate(patients.draws):
        columns = [i for i, owner in enumerate(owners) for _ in range(int(draws["pqr".index(owner)]))]
        drawn = values[:, :, columns]
        alone = rank(drawn, SYSTEMS, ["x"] * len(columns), SCHEMES[name], Patients(["x"]))
        assert found.resampled[number].tolist() == alone.ranks.tolist()
        tau = stats.kendalltau(found.ranks, alone.ranks).statistic
        np.testing.assert_allclose(found.taus[number], tau)


def test_kendalls_tau_by_hand():
    # Of the three pairs a resample with b before a turns one around: (2 - 1) / 3.
    found = ranked(ONE, "rank-then-aggregate", resamples=400)
    turned = found.resampled[:, 0] > found.resampled[:, 1]
    kept = (found.resampled == [1, 2, 3]).all(axis=1)
    assert set(np.round(found.taus[turned & (found.resampled[:, 2] == 3)], 9)) == {round(1 / 3, 9)}
    assert set(found.taus[kept]) == {1.0}
    mean, low, high = found.tau
    assert low <= mean <= high == 1.0


def test_two_patients_are_ranked_but_not_resampled():
    found = rank(ONE, SYSTEMS, ("p", "p", "q", "q"), SCHEMES["scaled"], Patients(["p", "q"]))
    assert found.best_first[0] == "b"
    assert (found.tau, found.interval("a")) == (None, None)


def test_how_often_a_system_has_a_rank_is_what_drawing_four_out_of_four_gives():
    # a is first where its bad target is not drawn, (3/4)^4 = 81/256, and third where it is drawn three or
    # four times, (4 * 3 + 1) / 256.
    found = ranked(ONE, "aggregate-then-rank", resamples=1000).frequencies("a")
    assert list(found) == [1, 2, 3]
    np.testing.assert_allclose(list(found.values()), [81 / 256, 162 / 256, 13 / 256], atol=0.05)


def test_wilcoxon_by_hand():
    # Six patients, a ahead in all: of the 2^6 ways to put signs 2 are as extreme, p = 2 / 64.
    values = np.array([[0.6, 0.62, 0.64, 0.66, 0.68, 0.7], [0.5, 0.51, 0.52, 0.53, 0.54, 0.55]])
    (pair,) = compared("dice", values, ("a", "b"), "pqrstu")
    assert pair.p == pair.p_holm == pytest.approx(2 / 64)
    assert pair.difference == pytest.approx(np.mean([0.1, 0.11, 0.12, 0.13, 0.14, 0.15]))
    assert pair.patients == 6


def test_patients_and_not_targets_are_the_observations():
    values = np.array([[0.6, 0.62, 0.64, 0.66, 0.68, 0.7], [0.5, 0.51, 0.52, 0.53, 0.54, 0.55]])
    once = compared("dice", values, ("a", "b"), list("pqrstu"))
    thrice = compared("dice", np.tile(values, 3), ("a", "b"), list("pqrstu") * 3)
    assert once == thrice


def test_systems_that_answer_alike_do_not_differ():
    (pair,) = compared("dice", np.full((2, 5), 0.3), ("a", "b"), "pqrst")
    assert (pair.p, pair.difference) == (1.0, 0.0)


def test_a_difference_has_the_interval_of_its_patients(rng):
    # Two targets of each patient; SciPy's t of five paired differences, with one more patient's spread.
    owners, values = list("ppqqrrsstt"), rng.random((2, 10))
    (pair,) = compared("hd95_mm", values, ("a", "b"), owners)
    apart = (values[0] - values[1]).reshape(5, 2).mean(axis=1)
    expected = stats.t.interval(0.95, 4, apart.mean(), stats.sem(apart) * (5 / 4) ** 0.5)
    np.testing.assert_allclose(pair.ci95, expected)
    (turned,) = compared("hd95_mm", values[::-1], ("b", "a"), owners)
    np.testing.assert_allclose(turned.ci95, (-expected[1], -expected[0]))
    (share,) = compared("dice", values, ("a", "b"), owners, (-1.0, 1.0))
    assert -1 < share.ci95[0] < share.difference < share.ci95[1] < 1


def test_two_patients_or_differences_alike_have_no_interval():
    assert compared("dice", np.array([[0.1, 0.4], [0.3, 0.9]]), ("a", "b"), ("p", "q"))[0].ci95 is None
    alike = np.array([[0.1, 0.4, 0.5], [0.2, 0.5, 0.6]])
    assert compared("dice", alike, ("a", "b"), ("p", "q", "r"))[0].ci95 is None


def test_pairs_are_corrected_together(rng):
    values = rng.random((4, 9)) + np.arange(4)[:, None] / 4
    pairs = compared("dice", values, tuple("abcd"), "pqrstuvwx")
    assert len(pairs) == 6
    by_hand = [
        stats.wilcoxon(values["abcd".index(x.one)] - values["abcd".index(x.other)]).pvalue for x in pairs
    ]
    np.testing.assert_allclose([pair.p for pair in pairs], by_hand)
    assert [pair.p_holm for pair in pairs] == holm(by_hand)


def test_holm_by_hand():
    # Sorted 0.01, 0.02, 0.03, 0.04, times 4, 3, 2, 1: 0.04, 0.06, 0.06, 0.04, and never less than before.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_its_step_down_procedure_rejects(p):
    # The procedure as Holm states it: from the least p on, stop at the first above alpha / (tests left).
    alpha, rejected = 0.05, set()
    for step, number in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        if p[number] * (len(p) - step) > alpha:
            break
        rejected.add(number)
    assert {number for number, value in enumerate(holm(p)) if value <= alpha} == rejected
