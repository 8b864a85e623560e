"""Distances of profiles, by hand: mean and drawn covariance, each scan left out, the one that is far."""

import pytest
import torch

from sam_moe.systems.m4oe.references import distance, far_of, left_out, of_weights, reference
from tests.systems.m4oe.tiny import noise


def test_a_covariance_is_drawn_towards_equal_variances_by_hand():
    """Scans at (1, 0), (-1, 0), (0, 2), (0, -2): variances 2/3 and 8/3, none between; their mean 5/3.

    0.7 * 2/3 + 0.3 * 5/3 = 29/30, and 0.7 * 8/3 + 0.5 = 71/30.
    """
    mean, precision = reference(torch.tensor([[1.0, 0], [-1, 0], [0, 2], [0, -2]]))
    assert mean.tolist() == [0, 0]
    torch.testing.assert_close(precision, torch.tensor([[30 / 29, 0], [0, 30 / 71]]), rtol=1e-5, atol=1e-6)
    assert distance(torch.tensor([2.0, 0]), mean, precision) == pytest.approx((4 * 30 / 29 / 2) ** 0.5)
    assert distance(mean, mean, precision) == 0.0


def test_a_sets_own_scans_have_the_distance_one_on_average_whatever_the_number_of_gates():
    for width in (3, 30):
        profiles = noise(2000, width)
        mean, precision = reference(profiles)
        squares = [distance(row, mean, precision) ** 2 for row in profiles[:500]]
        assert sum(squares) / len(squares) == pytest.approx(1, abs=0.1)


def test_few_scans_with_many_logits_have_a_covariance_that_can_be_inverted():
    profiles = noise(4, 40)
    mean, precision = reference(profiles)
    assert torch.isfinite(precision).all() and (torch.linalg.eigvalsh(precision.double()) > 0).all()
    foreign = profiles[0] + 10 * noise(40, seed=9)
    assert distance(foreign, mean, precision) > 3 * max(distance(row, mean, precision) for row in profiles)


def test_scans_that_are_alike_or_alone_have_a_small_unit_covariance():
    """0.3 * 0.001: a precision of 3333."""
    for profiles in (torch.ones(3, 2), torch.ones(1, 2)):
        mean, precision = reference(profiles)
        assert mean.tolist() == [1, 1]
        torch.testing.assert_close(precision, torch.eye(2) / 0.0003, rtol=1e-4, atol=1e-2)


def test_each_scan_is_held_against_the_others():
    profiles = noise(5, 3)
    found = left_out(profiles)
    assert len(found) == 5
    assert found[2] == pytest.approx(distance(profiles[2], *reference(profiles[[0, 1, 3, 4]])))
    assert left_out(profiles[:1]) == []


@pytest.mark.parametrize(("count", "far"), [(1, 1), (2, 2), (19, 19), (20, 20), (40, 39), (100, 96)])
def test_far_is_the_next_distance_above_ninety_five_in_a_hundred(count, far):
    assert far_of([float(n) for n in range(count, 0, -1)]) == far


def test_a_files_tensors_hold_a_reference_or_none():
    state = {"reference.neck.mean": torch.ones(2).half(), "reference.neck.precision": torch.eye(2)}
    mean, precision = of_weights(state, "neck")
    assert mean.dtype == torch.float32 and torch.equal(precision, torch.eye(2))
    assert of_weights(state, "brain") is None
    assert of_weights({"reference.neck.mean": torch.ones(2)}, "neck") is None
