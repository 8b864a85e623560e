"""Each strategy by hand, why it chose, and that weights sum to one."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sam_moe.errors import ConfigError
from sam_moe.moe.rules.argmax import Argmax
from sam_moe.moe.rules.dense import Dense
from sam_moe.moe.rules.forced import Forced
from sam_moe.moe.rules.threshold import Threshold
from sam_moe.moe.rules.top_k import TopK
from sam_moe.moe.selection import SelectionRule, confidence_of

CONFIDENCE = torch.tensor([[0.30, 0.62, 0.08], [0.50, 0.19, 0.31], [0.40, 0.10, 0.50]])
RULES: list[SelectionRule] = [Threshold(0.5), TopK(2), TopK(9), Argmax(), Forced(1), Dense()]


def chosen(rule: SelectionRule) -> tuple[list, list, list]:
    selection = rule.select(CONFIDENCE)
    return selection.experts.tolist(), selection.weights.tolist(), selection.fell_back.tolist()


def test_confidence_is_the_softmax_over_all_columns():
    logits = torch.tensor([[0.0, torch.tensor(3.0).log().item()]])
    torch.testing.assert_close(confidence_of(logits), torch.tensor([[0.25, 0.75]]))


def test_threshold_takes_the_best_specialist_that_reaches_it_else_the_general_expert():
    rule = Threshold(0.5)
    assert chosen(rule) == ([[1], [0], [2]], [[1], [1], [1]], [False, True, False])
    assert rule.explain(CONFIDENCE, rule.select(CONFIDENCE)) == (
        "threshold 0.62 >= 0.5",
        "fell back: best 0.31 < 0.5",
        "threshold 0.5 >= 0.5",
    )


def test_the_general_expert_may_stand_elsewhere():
    assert Threshold(0.5, general=2).select(CONFIDENCE).experts.tolist() == [[1], [0], [2]]


def test_without_specialists_or_with_confidences_that_are_no_numbers_the_general_expert_answers():
    alone, broken = torch.ones(2, 1), torch.full((2, 3), float("nan"))
    for tau in (0.0, 0.5):
        for confidence in (alone, broken):
            selection = Threshold(tau).select(confidence)
            assert selection.experts.tolist() == [[0], [0]] and selection.fell_back.all()
    assert Threshold(0.5).explain(alone, selection) == ("fell back: no other expert",) * 2


def test_top_k_renormalises_the_surest():
    """0.62 and 0.30 of 0.92."""
    experts, weights, fell_back = chosen(TopK(2))
    assert experts == [[1, 0], [0, 2], [2, 0]] and fell_back == [False] * 3
    assert weights[0] == pytest.approx([0.62 / 0.92, 0.30 / 0.92])
    assert TopK(2).explain(CONFIDENCE, TopK(2).select(CONFIDENCE))[0] == "the 2 surest of 3"


def test_top_k_of_fewer_experts_takes_all():
    assert TopK(9).select(CONFIDENCE).experts.shape == (3, 3)


def test_argmax_takes_the_surest_be_it_the_general_one():
    assert chosen(Argmax())[0] == [[1], [0], [2]]
    assert Argmax().explain(CONFIDENCE, Argmax().select(CONFIDENCE)) == (
        "surest: 0.62",
        "surest: 0.5",
        "surest: 0.5",
    )


def test_forced_takes_the_one_asked_for():
    assert chosen(Forced(2)) == ([[2]] * 3, [[1]] * 3, [False] * 3)
    assert Forced(2).explain(CONFIDENCE, Forced(2).select(CONFIDENCE)) == ("asked for",) * 3


def test_dense_takes_all_in_the_gates_order_by_confidence():
    experts, weights, _ = chosen(Dense())
    assert experts == [[0, 1, 2]] * 3 and weights == CONFIDENCE.tolist()
    assert Dense().explain(CONFIDENCE, Dense().select(CONFIDENCE))[0] == "all 3 by confidence"


@given(st.integers(1, 4), st.integers(2, 6), st.integers(0, 1000), st.sampled_from(RULES))
def test_weights_sum_to_one_and_no_expert_is_named_twice(batch, experts, seed, rule):
    logits = 5 * torch.randn(batch, experts, generator=torch.Generator().manual_seed(seed))
    selection = rule.select(confidence_of(logits))
    assert selection.experts.shape == selection.weights.shape
    torch.testing.assert_close(selection.weights.sum(dim=1), torch.ones(batch))
    assert all(len(set(row)) == len(row) for row in selection.experts.tolist())
    assert len(rule.explain(confidence_of(logits), selection)) == batch


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(ConfigError, match=r"threshold 1\.5 is no confidence"):
        Threshold(1.5)
    with pytest.raises(ConfigError, match="k = 0 experts"):
        TopK(0)
    with pytest.raises(ConfigError, match="forced expert has index 3, but the gate knows 0 to 2"):
        Forced(3).select(CONFIDENCE)
