"""Each target of a gate by hand."""

from math import e, log

import pytest
import torch

from sam_moe.moe.fusion import fuse
from sam_moe.moe.losses import (
    balance_loss,
    best_loss,
    domain_loss,
    fused_loss,
    label_consistency_loss,
    owner_loss,
)

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


def test_balance_counts_rows_over_all_leading_axes():
    logits = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    assert balance_loss(logits) == balance_loss(logits.reshape(6, 4))


def test_a_cases_domain_is_named_by_its_mean_logits():
    """Tokens with logits (2 ln 3, 0) and (0, 0) have the mean (ln 3, 0): 3/4 and 1/4."""
    logits = torch.tensor([[[2 * log(3), 0.0], [0.0, 0.0]]] * 2)
    found = domain_loss(logits, torch.tensor([0, 1]))
    assert found.tolist() == pytest.approx([log(4 / 3), log(4)])
    pooled = owner_loss(logits.mean(dim=1), torch.tensor([0, 1]))
    torch.testing.assert_close(found, pooled)
    assert torch.equal(
        domain_loss(logits[:, :1, None], torch.tensor([0, 0])),
        domain_loss(logits[:, 0], torch.tensor([0, 0])),
    )


def test_label_consistency_is_the_divergence_from_weights_by_the_true_labels_probability():
    """At temperature 1 / ln 3, probabilities 1 and 0 are wanted as 3/4 and 1/4.

    Against an undecided gate: 3/4 ln(3/4 / 1/2) + 1/4 ln(1/4 / 1/2) = 3/4 ln 3 - ln 2.
    """
    right = torch.tensor([[1.0, 0.0]])
    found = label_consistency_loss(torch.zeros(1, 2), right, 1 / log(3))
    assert found.tolist() == pytest.approx([0.75 * log(3) - log(2)])


def test_a_gate_that_agrees_with_the_labels_pays_nothing_and_any_other_moves_there():
    right = torch.rand(2, 4, 4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    agreed = label_consistency_loss(right / 0.1, right)
    torch.testing.assert_close(agreed, torch.zeros(2, 4, 4), rtol=0, atol=1e-5)
    logits = torch.zeros(2, 4, 4, 3, requires_grad=True)
    loss = label_consistency_loss(logits, right)
    assert loss.shape == (2, 4, 4) and (loss >= 0).all()
    loss.sum().backward()
    assert logits.grad is not None and right.grad is None
    assert torch.equal(logits.grad.argmin(dim=-1), right.argmax(dim=-1))
