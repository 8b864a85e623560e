"""The record of the experts behind an answer."""

import torch

from sam_moe.moe.routing import Routing
from sam_moe.moe.rules.threshold import Threshold
from sam_moe.moe.rules.top_k import TopK
from sam_moe.moe.selection import confidence_of
from sam_moe.predict.answered import Answered, answered_by

IDS = ("general", "cord", "liver")


def routed(rule, *shares):
    """What a rule makes of these confidences."""
    logits = torch.tensor([shares]).log()
    chosen = rule.select(confidence_of(logits))
    return answered_by(Routing(IDS, logits, chosen, rule))


def test_one_sure_expert_answers_with_its_confidence():
    found = routed(Threshold(0.5), 0.15, 0.8, 0.05)
    assert str(found) == "cord 0.80"
    assert not found.fell_back
    assert found.explain().splitlines() == [
        "cord answered: threshold 0.8 >= 0.5",
        "  cord       confidence 0.800",
        "  (general)  confidence 0.150",
        "  (liver)    confidence 0.050",
    ]


def test_the_general_expert_answers_where_none_is_sure():
    found = routed(Threshold(0.9), 0.15, 0.8, 0.05)
    assert str(found) == "general 0.15"
    assert found.fell_back
    assert found.explain().startswith("general answered: fell back: best 0.8 < 0.9\n")


def test_falling_back_is_what_the_selection_says_and_not_a_word():
    class Cautious(Threshold):
        def explain(self, confidence, chosen):
            return ("in other words",) * len(confidence)

    assert routed(Cautious(0.9), 0.15, 0.8, 0.05).fell_back
    assert not routed(Cautious(0.5), 0.15, 0.8, 0.05).fell_back
    assert not Answered({"cord": 1.0}, {"cord": 1.0}, "fell back on its feet").fell_back


def test_several_experts_are_listed_with_their_weights():
    found = routed(TopK(2), 0.3, 0.6, 0.1)
    assert str(found) == "cord 0.60 + general 0.30"
    lines = found.explain().splitlines()
    assert lines[0] == "cord and general answered: the 2 surest of 3"
    assert lines[1].endswith("confidence 0.600  weight 0.67")
    assert lines[3] == "  (liver)  confidence 0.100"


def test_regions_are_counted_where_there_was_more_than_one():
    alone = Answered({"cord": 1.0}, {"cord": 0.8, "general": 0.2}, "because", {"cord": 1})
    assert "regions" not in alone.explain()
    both = Answered({"cord": 1.0}, {"cord": 0.8, "general": 0.2}, "because", {"cord": 2, "general": 1})
    assert both.explain().endswith("\n  regions asked: cord 2, general 1")


def test_a_model_without_experts_has_no_record():
    assert answered_by(None) is None
