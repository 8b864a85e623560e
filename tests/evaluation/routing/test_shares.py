"""Shares and confidences of experts, by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_moe.evaluation.routing.shares import count

SURE = {"general": 0.2, "cord": 0.8}


def test_shares_and_confidences_are_means_over_answers():
    found = count(
        [
            ("spine", {"cord": 1.0}, {"general": 0.1, "cord": 0.9}),
            ("spine", {"cord": 1.0}, {"general": 0.3, "cord": 0.7}),
            ("spine", {"general": 1.0}, {"general": 0.8, "cord": 0.2}),
            ("spine", {"general": 0.5, "cord": 0.5}, {"general": 0.4, "cord": 0.6}),
        ]
    )
    (spine,) = found.structures
    assert found.experts == ("general", "cord") and spine.answers == 4
    assert spine.shares == {"general": (1 + 0.5) / 4, "cord": (1 + 1 + 0.5) / 4}
    assert spine.confidence == pytest.approx({"general": 1.6 / 4, "cord": 2.4 / 4})


def test_weights_that_do_not_sum_to_one_are_shares_all_the_same():
    (one,) = count([("spine", {"general": 0.6, "cord": 1.8}, {})]).structures
    assert one.shares == pytest.approx({"general": 0.25, "cord": 0.75})
    assert one.confidence == {}


def test_structures_stand_by_the_expert_that_answers_most_of_them_the_surest_first():
    half = {"general": 0.5, "cord": 0.5}
    answers = [("spine", {"cord": 1.0}, SURE), ("both", half, SURE), ("liver", {"general": 1.0}, SURE)]
    assert [one.structure for one in count(answers).structures] == ["liver", "both", "spine"]


def test_an_expert_that_gave_no_answer_has_a_confidence_only():
    (one,) = count([("spine", {"cord": 1.0}, SURE)]).structures
    assert one.shares == {"general": 0.0, "cord": 1.0} and one.confidence == SURE


def test_a_model_alone_has_no_shares():
    assert count([]) is None
    assert count([("spine", {}, {}), ("liver", {"general": 0.0}, {})]) is None


WEIGHTS = st.dictionaries(st.sampled_from("abc"), st.floats(0.01, 9), min_size=1)


@given(st.lists(st.tuples(st.sampled_from(["x", "y"]), WEIGHTS, st.just({})), min_size=1))
def test_the_shares_of_a_structure_sum_to_one_and_all_answers_are_counted(answers):
    found = count(answers)
    assert sum(one.answers for one in found.structures) == len(answers)
    assert all(sum(one.shares.values()) == pytest.approx(1) for one in found.structures)
