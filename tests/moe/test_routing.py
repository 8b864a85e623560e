"""A routing read back: who answered, with which weight, how sure."""

import pytest
import torch

from sam_moe.moe.routing import Routing
from sam_moe.moe.rules.forced import Forced
from sam_moe.moe.rules.top_k import TopK
from sam_moe.moe.selection import confidence_of

LOGITS = torch.tensor([[0.0, 2.0, 1.0]]).log_softmax(dim=-1)


def routing(rule: TopK | Forced) -> Routing:
    selection = rule.select(confidence_of(LOGITS))
    return Routing(("general", "a", "b"), LOGITS, selection, rule)


def test_who_answered_is_named_heaviest_first():
    """e^2 and e^1 of their sum: 0.731 and 0.269."""
    (answered,) = routing(TopK(2)).answered
    assert list(answered) == ["a", "b"]
    torch.testing.assert_close(torch.tensor(list(answered.values())), torch.tensor([0.7310586, 0.2689414]))
    assert routing(Forced(0)).answered == ({"general": 1.0},)


def test_confidence_is_the_softmax_of_the_logits():
    torch.testing.assert_close(routing(Forced(0)).confidence, LOGITS.exp())


def test_weights_stand_at_their_experts_and_why_is_given_for_each_row_in_order():
    """Two rows of two tokens each: softmax of (0, ln 3) is 1/4 and 3/4."""
    even, second = [0.0, 0.0], [0.0, torch.tensor(3.0).log().item()]
    logits = torch.tensor([[even, second], [second, even]])
    rule = TopK(1, raw=True)
    found = Routing(("a", "b"), logits, rule.select(confidence_of(logits)), rule, "token")
    torch.testing.assert_close(found.weights[0, 1], torch.tensor([0.0, 0.75]))
    assert found.weights.shape == logits.shape and found.weights.sum().item() == pytest.approx(2.5)
    assert [list(row) for row in found.answered][1:3] == [["b"], ["b"]] and len(found.answered) == 4
    assert found.why == ("the 1 surest of 2",) * 4


def test_detached_it_keeps_numbers_and_no_gradients():
    logits = LOGITS.clone().requires_grad_()
    rule = TopK(2)
    found = Routing(("general", "a", "b"), logits, rule.select(confidence_of(logits)), rule)
    kept = found.detached()
    assert found.weights.requires_grad and not kept.weights.requires_grad and not kept.logits.requires_grad
    assert torch.equal(kept.weights, found.weights) and kept.why == found.why
