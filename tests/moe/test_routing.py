"""A routing read back: who answered, with which weight, how sure."""

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
