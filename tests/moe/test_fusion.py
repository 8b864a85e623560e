"""Fusing by hand, in logits and in probabilities."""

import pytest
import torch

from sam_moe.moe.fusion import fuse


def answers(*logits: float) -> torch.Tensor:
    return torch.tensor(logits)[None, :, None, None, None].expand(1, -1, 2, 2, 2).contiguous()


WEIGHTS = torch.tensor([[0.25, 0.75]])


@pytest.mark.parametrize("how", ["logits", "probabilities"])
def test_one_answer_comes_back_bit_for_bit(how, generator):
    one = torch.randn(3, 1, 2, 2, 2, generator=generator)
    assert torch.equal(fuse(one, torch.full((3, 1), 0.3), how), one[:, 0])


def test_logits_are_averaged_by_weight():
    assert torch.equal(fuse(answers(4.0, -8.0), WEIGHTS, "logits"), torch.full((1, 2, 2, 2), -5.0))


def test_probabilities_are_averaged_by_weight():
    """0.8 and 0.4 with weights 1/4 and 3/4 are 0.5, whose logit is 0."""
    both = answers(*torch.tensor([0.8, 0.4]).logit().tolist())
    torch.testing.assert_close(
        fuse(both, WEIGHTS, "probabilities"), torch.zeros(1, 2, 2, 2), rtol=0, atol=1e-6
    )


def test_sure_answers_stay_finite_and_a_weight_of_nothing_says_nothing():
    """Two answers of 200 are one of 200; a quarter sure of it and three quarters sure of not are 1/4."""
    fused = fuse(answers(200.0, 200.0), WEIGHTS, "probabilities")
    torch.testing.assert_close(fused, torch.full((1, 2, 2, 2), 200.0))
    fused = fuse(answers(200.0, -200.0), WEIGHTS, "probabilities")
    torch.testing.assert_close(fused.sigmoid(), torch.full((1, 2, 2, 2), 0.25))
    fused = fuse(answers(3.0, 1.0), torch.tensor([[1.0, 0.0]]), "probabilities")
    torch.testing.assert_close(fused, torch.full((1, 2, 2, 2), 3.0))


@pytest.mark.parametrize("how", ["logits", "probabilities"])
def test_weights_learn_from_the_fused_mask_and_a_weight_of_nothing_breaks_nothing(how):
    for share in (0.25, 0.0):
        weights = torch.tensor([[1 - share, share]], requires_grad=True)
        fuse(answers(3.0, -1.0), weights, how).sum().backward()
        assert weights.grad is not None and weights.grad.isfinite().all()
        assert share == 0 or weights.grad.abs().min() > 0
