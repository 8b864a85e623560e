from sam_moe.evaluation.report.routing import routing
from tests.evaluation.rows import row, words_of

SURE = {"general": 0.2, "cord": 0.8}


def asked(label, answered, confidence=None):
    return row(label=label, answered=answered, confidence=confidence or SURE)


def test_shares_and_confidences_by_hand():
    rows = [
        asked("spine", {"cord": 1.0}, {"general": 0.1, "cord": 0.9}),
        asked("spine", {"cord": 1.0}, {"general": 0.3, "cord": 0.7}),
        asked("spine", {"general": 1.0}, {"general": 0.8, "cord": 0.2}),
        asked("spine", {"general": 0.5, "cord": 0.5}, {"general": 0.4, "cord": 0.6}),
    ]
    # general: (1 + 0.5) / 4 and (0.1 + 0.3 + 0.8 + 0.4) / 4; cord: (1 + 1 + 0.5) / 4 and 2.4 / 4.
    assert words_of(routing(rows)) == ["general", "cord", "spine (4)", "38%", "0.40", "62%", "0.60"]


def test_weights_that_do_not_sum_to_one_are_shares_all_the_same():
    assert "75%" in words_of(routing([asked("spine", {"general": 0.6, "cord": 1.8})]))


def test_structures_stand_by_the_expert_that_answers_most_of_them():
    rows = [asked("spine", {"cord": 1.0}), asked("liver", {"general": 1.0})]
    words = words_of(routing(rows))
    assert words.index("liver (1)") < words.index("spine (1)")


def test_who_gave_no_answer_has_a_confidence_only():
    words = words_of(routing([asked("spine", {"cord": 1.0})]))
    assert words == ["general", "cord", "spine (1)", "0.20", "100%", "0.80"]


def test_a_system_that_chooses_among_nobody_has_no_picture():
    assert routing([row()]) is None
    assert routing([row(answered={"general": 0.0})]) is None
