"""Each target of a gate by hand."""

from math import e, log

import pytest
import torch

from sam_moe.moe.fusion import fuse
from sam_moe.moe.losses import balance_loss, best_loss, fused_loss, owner_loss

EVEN = torch.zeros(1, 4)


def test_an_undecided_gate_pays_the_logarithm_of_the_number_of_experts():
    assert owner_loss(EVEN, torch.tensor([2])).tolist() == pytest.approx([log(4)])
    assert best_loss(EVEN, torch.rand(1, 4)).tolist() == pytest.approx([log(4)])


def test_naming_the_owner_is_cheaper():
    """Softmax of (ln 3, 0) is 3/4 and 1/4."""
    logits = torch.tensor([[log(3), 0.0]] * 2)
    assert owner_loss(logits, torch.tensor([0, 1])).tolist() == pytest.approx([log(4 / 3), log(4)])


def test_near_equals_share_a_case_and_at_temperature_zero_the_first_of_the_best_has_it():
    """Scores that differ by the temperature are wanted as e to 1."""
    logits = torch.tensor([[log(3), 0.0]])
    expected = (e * log(4 / 3) + log(4)) / (e + 1)
    scores = torch.tensor([[0.8, 0.75]])
    assert best_loss(logits, scores, 0.05).tolist() == pytest.approx([expected], rel=1e-4)
    assert best_loss(logits, scores, 0).tolist() == pytest.approx([log(4 / 3)])
    assert best_loss(logits, torch.tensor([[0.7, 0.7]]), 0).tolist() == pytest.approx([log(4 / 3)])


def test_the_fused_masks_loss_moves_confidence_towards_the_better_answer(generator):
    target = (torch.rand(2, 2, 2, 2, generator=generator) > 0.5).float()
    right = 4 * target - 2
    answers = torch.stack([-right, right], dim=1)
    for how in ("logits", "probabilities"):
        logits = torch.zeros(2, 2, requires_grad=True)
        squares = lambda fused, wanted: (fused.sigmoid() - wanted).square().flatten(1).mean(1)  # noqa: E731
        loss = fused_loss(logits, answers, target, how, squares)
        torch.testing.assert_close(loss, squares(fuse(answers, torch.full((2, 2), 0.5), how), target))
        loss.sum().backward()
        assert logits.grad is not None and (logits.grad[:, 0] > 0).all() and (logits.grad[:, 1] < 0).all()


def test_balance_is_one_for_equal_shares_and_the_number_of_experts_for_one_alone():
    assert balance_loss(50 * torch.eye(4)).item() == pytest.approx(1)
    assert balance_loss(50 * torch.eye(4)[[1, 1, 1]]).item() == pytest.approx(4)


def test_balance_moves_confidence_away_from_the_favourite():
    logits = torch.tensor([[1.0, 0.0]] * 3, requires_grad=True)
    balance_loss(logits).backward()
    assert logits.grad is not None and (logits.grad[:, 0] > 0).all()
