"""The learning rate over the steps."""

import itertools

import pytest

from sam_moe.training.engine.schedule import Schedule


def test_the_rate_warms_up_stays_and_falls_to_nothing():
    plan = Schedule(steps=10, batch_size=1, learning_rate=1.0, warmup=4, decay=0.4)
    factors = [plan.factor(step) for step in range(11)]
    assert factors == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0])


def test_without_warm_up_it_begins_at_the_plateau_and_never_rises_above_it():
    plan = Schedule(steps=50, batch_size=1, learning_rate=1.0, warmup=0, decay=1.0)
    factors = [plan.factor(step) for step in range(51)]
    assert factors[0] == 1 and factors[50] == 0
    assert all(later < earlier for earlier, later in itertools.pairwise(factors))
