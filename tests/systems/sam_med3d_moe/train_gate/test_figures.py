"""What a mixture gains is summed up by its own way of choosing; expected numbers are worked out by hand."""

from dataclasses import replace

import pytest
import torch

from sam_moe.moe.rules.argmax import Argmax
from sam_moe.moe.rules.dense import Dense
from sam_moe.moe.rules.threshold import Threshold
from sam_moe.moe.rules.top_k import TopK
from sam_moe.systems.sam_med3d_moe.train_gate.figures import LEFT, figures
from sam_moe.systems.sam_med3d_moe.train_gate.threshold import LEAST_PROMPTS, curve
from tests.systems.sam_med3d_moe.train_gate.tables import by_hand

N = LEAST_PROMPTS
# The liver loses 0.2 by the expert, which answers half of it; the cord gains 0.4 on the half that it gets.
TABLE = by_hand([0] * N + [1] * N, [[0.8, 0.6]] * N + [[0.3, 0.7]] * N, [0] * N + [1] * N, ("liver", "cord"))
CONFIDENCE = torch.tensor([[0.6, 0.4], [0.3, 0.7]] * N)


def test_the_surest_expert_is_measured_where_it_answers():
    found = figures(CONFIDENCE, TABLE, Argmax(), "logits")
    assert (found.gained, found.lost, found.left) == pytest.approx((0.2, 0.1, 0.5))
    cord = found.structures["cord"]
    assert (cord.general, cord.mixture, cord.owned) == pytest.approx((0.3, 0.5, 0.5))


@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0])
def test_with_a_threshold_gain_and_loss_are_the_curves(tau):
    (point,) = curve(CONFIDENCE, TABLE, (tau,))
    found = figures(CONFIDENCE, TABLE, Threshold(tau), "logits")
    assert (found.gained, found.lost) == (point.specialised_gain, point.general_drop)


def test_fused_answers_are_measured_where_the_table_keeps_them():
    """Two voxels, of which the target is the first; the mean of 5 and -1 is above 0, that of -5 and 1 not."""
    answers = torch.tensor([[5.0, -5.0], [-1.0, 1.0]]).reshape(1, 2, 2, 1, 1).expand(2 * N, 2, 2, 2, 2)
    target = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1).expand(2 * N, 2, 2, 2)
    kept = replace(TABLE, answers=answers.half(), targets=target.half())
    even = torch.full((2 * N, 2), 0.5)
    for rule in (TopK(2), Dense()):
        found = figures(even, kept, rule, "logits")
        assert found.structures["cord"].mixture == 1.0 and found.gained == pytest.approx(0.7)
        assert found.left == found.structures["cord"].owned == 0.5


def test_fused_answers_that_were_not_kept_are_not_claimed():
    found = figures(CONFIDENCE, TABLE, Dense(), "logits")
    assert found.gained is None and found.lost is None and found.left == pytest.approx(0.45)
    assert {row.metric for row in found.measurements("here", "so")} == {
        LEFT,
        "routed to its owner",
        "Dice, general",
    }


def test_without_a_prompt_of_an_expert_nothing_is_left():
    assert figures(CONFIDENCE[:N], TABLE.rows(torch.arange(N)), Argmax(), "logits").left is None
