"""Fusing by hand, in logits and in probabilities."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sam_moe.errors import ConfigError
from sam_moe.moe.fusion import check_fusion, fuse, weighted_sum
from sam_moe.moe.rules.dense import Dense
from sam_moe.moe.rules.top_k import TopK


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


def test_sure_answers_stay_finite_and_a_weight_of_zero_changes_nothing():
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


sizes = st.integers(0, 3)


@given(
    st.lists(sizes, min_size=1, max_size=2),
    st.integers(1, 4),
    st.lists(sizes, max_size=2),
    st.integers(0, 1000),
)
def test_the_weighted_sum_is_the_loop_over_experts_at_any_shape(rows, experts, answer, seed):
    rng = torch.Generator().manual_seed(seed)
    found = torch.randn(*rows, experts, *answer, generator=rng)
    weights = torch.rand(*rows, experts, generator=rng)
    expected = torch.zeros(*rows, *answer)
    for e in range(experts):
        here = weights[..., e].reshape(*rows, *[1] * len(answer))
        expected = expected + here * found.select(len(rows), e)
    torch.testing.assert_close(weighted_sum(found, weights), expected)
    if experts > 1:
        assert torch.equal(fuse(found, weights, "logits"), weighted_sum(found, weights))


@given(st.integers(2, 5), st.integers(0, 1000), st.sampled_from(["logits", "probabilities"]))
def test_the_order_of_experts_does_not_matter_and_a_fused_logit_lies_between_them(experts, seed, how):
    rng = torch.Generator().manual_seed(seed)
    found = 4 * torch.randn(3, experts, 5, generator=rng)
    weights = torch.rand(3, experts, generator=rng).softmax(dim=-1)
    order = torch.randperm(experts, generator=rng)
    fused = fuse(found, weights, how)
    torch.testing.assert_close(fuse(found[:, order], weights[:, order], how), fused, rtol=1e-4, atol=1e-4)
    assert (fused <= found.amax(dim=1) + 1e-4).all() and (fused >= found.amin(dim=1) - 1e-4).all()


def test_raw_weights_are_kept_by_the_sum_also_for_one_expert():
    assert weighted_sum(torch.tensor([[4.0]]), torch.tensor([[0.25]])).tolist() == [1.0]


@pytest.mark.parametrize("how", ["logits", "probabilities"])
def test_raw_weights_are_not_averaged(how):
    """Weights 0.5 and 0.1 of two logits of 4 would give 2.4, one of them 4."""
    check_fusion(TopK(2), how)
    check_fusion(Dense(), how)
    for k in (1, 2):
        check_fusion(TopK(k, raw=True), "sum")
        with pytest.raises(ConfigError, match=rf"TopK\(k={k}, raw=True\) keeps raw.*fusing {how} averages"):
            check_fusion(TopK(k, raw=True), how)
