"""Each rule by hand, found by its name; rows in any axes and experts in any order change nothing."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sam_moe.errors import ConfigError
from sam_moe.moe.rules import RULES
from sam_moe.moe.rules.argmax import Argmax
from sam_moe.moe.rules.dense import Dense
from sam_moe.moe.rules.forced import Forced
from sam_moe.moe.rules.threshold import Threshold
from sam_moe.moe.rules.top_k import TopK
from sam_moe.moe.rules.uniform import Uniform
from sam_moe.moe.selection import NamedRule, SelectionRule, confidence_of, is_raw

CONFIDENCE = torch.tensor([[0.30, 0.62, 0.08], [0.50, 0.19, 0.31], [0.40, 0.10, 0.50]])
EVERY = [Threshold(0.5), TopK(2), TopK(9), Argmax(), Forced(1), Dense(), Uniform()]


def chosen(rule: SelectionRule) -> tuple[list, list, list]:
    selection = rule.select(CONFIDENCE)
    return selection.experts.tolist(), selection.weights.tolist(), selection.fell_back.tolist()


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


def test_raw_weights_are_the_confidences_themselves():
    experts, weights, _ = chosen(TopK(1, raw=True))
    assert experts == [[1], [0], [2]]
    assert [row[0] for row in weights] == pytest.approx([0.62, 0.50, 0.50])


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


def test_uniform_takes_all_alike_averaged_or_added():
    assert chosen(Uniform()) == ([[0, 1, 2]] * 3, [[pytest.approx(1 / 3)] * 3] * 3, [False] * 3)
    assert chosen(Uniform(raw=True)) == ([[0, 1, 2]] * 3, [[1.0] * 3] * 3, [False] * 3)
    assert Uniform().explain(CONFIDENCE, Uniform().select(CONFIDENCE)) == ("all 3 alike",) * 3
    assert (Uniform().describe(), Uniform(raw=True).describe()) == ("all, averaged", "all, added")
    assert is_raw(Uniform(raw=True)) and not is_raw(Uniform())


@given(st.integers(1, 4), st.integers(2, 6), st.integers(0, 1000), st.sampled_from(EVERY))
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


@pytest.mark.parametrize("name", RULES.own)
def test_a_rule_is_named_as_its_file_and_describes_itself(name):
    rule = RULES.load(name)()
    assert isinstance(rule, NamedRule) and rule.name == name
    assert rule.describe() and rule.describe(["liver", "cord", "lung"])


def test_descriptions_name_experts():
    experts = ["body", "cord", "lung"]
    assert Forced(1).describe(experts) == "always cord"
    assert Threshold(0.5).describe(experts) == "threshold 0.5: the surest expert, body below that confidence"
    assert TopK(2).describe() == "the 2 surest, weighted by confidence"


shapes = st.lists(st.integers(0, 3), min_size=1, max_size=3).map(tuple)


def confidences(shape, experts, seed):
    logits = 3 * torch.randn(*shape, experts, generator=torch.Generator().manual_seed(seed))
    return confidence_of(logits)


@given(shapes, st.integers(2, 5), st.integers(0, 1000), st.sampled_from(EVERY))
def test_rows_are_chosen_for_alike_in_whatever_axes_they_stand(shape, experts, seed, rule):
    many = confidences(shape, experts, seed)
    flat = many.reshape(-1, experts)
    found, expected = rule.select(many), rule.select(flat)
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.shape[: len(shape)] == shape
        assert torch.equal(mine.reshape(theirs.shape), theirs)
    assert rule.explain(many, found) == rule.explain(flat, expected)


@given(st.permutations([0, 1, 2, 3]), st.integers(0, 1000), st.sampled_from(EVERY))
def test_experts_in_another_order_are_chosen_all_the_same(order, seed, rule):
    """Where the general or forced expert moves, the rule's index of it moves along."""
    before = confidences((6,), 4, seed)
    changes = {f: order.index(getattr(rule, f)) for f in ("general", "index") if hasattr(rule, f)}
    after = dataclasses.replace(rule, **changes).select(before[:, order])
    named = torch.tensor(order)[after.experts]
    weights = torch.zeros(6, 4).scatter(1, named, after.weights)
    chosen = rule.select(before)
    torch.testing.assert_close(weights, torch.zeros(6, 4).scatter(1, chosen.experts, chosen.weights))
    assert torch.equal(after.fell_back, chosen.fell_back)


@pytest.mark.parametrize("rule", [TopK(2), TopK(1, raw=True), Dense()])
def test_weights_carry_gradients_to_the_gate(rule):
    logits = torch.randn(3, 4, requires_grad=True, generator=torch.Generator().manual_seed(0))
    rule.select(confidence_of(logits)).weights.square().sum().backward()
    assert logits.grad is not None and logits.grad.abs().sum() > 0


def test_weights_have_the_precision_of_the_confidence():
    for rule in EVERY:
        assert rule.select(CONFIDENCE.double()).weights.dtype == torch.float64
