"""A conversation has every step whatever the system does; what it does wrong is a status and a reason."""

from dataclasses import replace

import numpy as np
import pytest

from sam_moe.evaluation.asking.conversation import NO_PROMPT, Scorer, converse
from sam_moe.evaluation.asking.protocols import SIMULATED, Replay
from sam_moe.evaluation.asking.systems import Reply
from sam_moe.evaluation.asking.targets import Target
from sam_moe.prompts import Point

TRUTH = np.zeros((12, 12, 12), bool)
TRUTH[3:9, 3:9, 3:9] = True
TARGET = Target("case", "cube", TRUTH, (1.0, 1.0, 1.0), scan="f")


class Answers:
    """Gives these masks, one a step; raises what is an exception."""

    id = "answers"
    supports = frozenset({"point", "box"})

    def __init__(self, *answers):
        self.answers, self.items = list(answers), []

    def open(self, scan):
        pass

    def describe(self):
        return {}

    def answer(self, items):
        self.items.append(items)
        found = self.answers[len(self.items) - 1]
        if isinstance(found, Exception):
            raise found
        return Reply(found)


def half():
    mask = TRUTH.copy()
    mask[:6] = False
    return mask


def test_each_step_hears_all_that_was_said_and_sees_the_last_answer():
    system = Answers(half(), TRUTH, TRUTH)
    turns = list(converse(system, SIMULATED["clicks"], TARGET))
    assert [turn.prompt for turn in turns] == ["click1", "click2", "click3", "click4", "click5"]
    assert [len(items) for items in system.items] == [1, 2]  # after that nothing was left to mend
    assert turns[1].item.positive and turns[1].item.at[0] < 6
    assert [turn.item is None for turn in turns] == [False, False, True, True, True]
    assert (
        turns[4].reason == NO_PROMPT and turns[4].reply.mask is turns[1].reply.mask and turns[4].seconds == 0
    )


@pytest.mark.parametrize("protocol", ["clicks", "cvpr2025"])
def test_nothing_is_clicked_where_nothing_was_annotated(protocol):
    """The answer errs by three voxels of the cube, and by far more where nothing was annotated."""
    ignored = np.zeros_like(TRUTH)
    ignored[:, :, 9:] = True
    short = TRUTH | ignored
    short[3, 3, 3:6] = False
    turns = list(converse(Answers(*[short] * 6), SIMULATED[protocol], replace(TARGET, ignored=ignored)))
    clicks = [tuple(round(x) for x in turn.item.at) for turn in turns if isinstance(turn.item, Point)]
    assert len(clicks) == 5 and not any(ignored[click] for click in clicks)
    assert all(turn.item.positive for turn in turns if isinstance(turn.item, Point))
    score = Scorer(replace(TARGET, ignored=ignored), 2.0)
    assert score(turns[-1])["dice"] == pytest.approx(2 * 213 / (216 + 213))
    assert score(turns[-1])["predicted_ml"] == pytest.approx(0.213)


def test_a_failure_is_a_turn_with_its_reason_and_the_next_goes_by_the_last_answer():
    system = Answers(half(), RuntimeError("out of\n memory"), TRUTH, TRUTH)
    turns = list(converse(system, SIMULATED["clicks"], TARGET))
    assert [turn.status for turn in turns] == ["ok", "failed", "ok", "ok", "ok"]
    assert turns[1].reason == "RuntimeError: out of memory"
    assert turns[2].item == turns[1].item  # the same error is still the largest


def test_a_failure_that_ends_a_conversation_stays_one():
    script = Replay("clicks", ("click1", "click2"), {("f", "cube"): (Point((5, 5, 5)),)})
    turns = list(converse(Answers(ValueError("no")), script, TARGET))
    assert [turn.status for turn in turns] == ["failed", "failed"]


def test_what_nobody_recorded_is_missing_at_every_step():
    system = Answers()
    turns = list(converse(system, Replay("clicks", ("click1", "click2"), {}), TARGET))
    assert [turn.status for turn in turns] == ["missing", "missing"]
    assert "none for cube of case" in turns[0].reason and system.items == []


def test_an_answer_of_another_shape_has_the_wrong_grid():
    (turn,) = converse(Answers(np.zeros((3, 3, 3), bool)), SIMULATED["click"], TARGET)
    assert turn.status == "wrong_grid" and "(3, 3, 3)" in turn.reason


def test_a_keyboard_interrupt_is_no_failure_of_the_system():
    class Interrupted(Answers):
        def answer(self, items):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(converse(Interrupted(), SIMULATED["click"], TARGET))


def test_half_a_cube_scores_by_hand_and_a_failed_turn_the_worst():
    # 108 of 216 voxels found: Dice 2 * 108 / (216 + 108) = 2/3, VS 1 - 108/324 = 2/3.
    first, second, *_ = converse(
        Answers(half(), RuntimeError("no"), half(), half(), half()), SIMULATED["clicks"], TARGET
    )
    score = Scorer(TARGET, 2.0)
    assert score(first)["dice"] == pytest.approx(2 / 3)
    assert score(first)["vs"] == pytest.approx(2 / 3)
    assert score(first)["volume_error_ml"] == pytest.approx(0.108)
    worst = score(second)
    assert (worst["status"], worst["dice"], worst["predicted_ml"]) == ("failed", 0.0, 0.0)
    assert worst["hd95_mm"] == pytest.approx(np.sqrt(3) * 12)


def test_an_empty_answer_is_called_empty():
    (turn,) = converse(Answers(np.zeros_like(TRUTH)), SIMULATED["click"], TARGET)
    assert Scorer(TARGET, 2.0)(turn)["status"] == "empty"
