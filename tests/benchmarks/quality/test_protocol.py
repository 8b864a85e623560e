import numpy as np
import pytest

from benchmarks.quality import protocol
from sam_moe.errors import PromptError

TRUTH = np.zeros((20, 12, 10), dtype=bool)
TRUTH[4:15, 3:8, 2:7] = True


def test_a_right_answer_scores_one_and_is_not_asked_again():
    asked = []

    def answer(clicks):
        asked.append(clicks)
        return TRUTH

    scores, _ = protocol.click_through(answer, TRUTH, (1, 1, 1))
    assert [score.dice for score in scores] == [1.0] * 5
    assert len(asked) == 1 and [score.idle for score in scores] == [False, True, True, True, True]


def test_each_correction_lies_in_the_largest_error_of_the_last_answer():
    seen = []

    def answer(clicks):
        seen.append(clicks[-1])
        return TRUTH & (np.arange(20) < 8)[:, None, None] if len(clicks) == 1 else TRUTH

    protocol.click_through(answer, TRUTH, (1, 1, 1))
    assert seen[0].at == (9, 5, 4)  # the middle of all
    assert seen[1].at == (11, 5, 4) and seen[1].positive  # the middle of what was missed, 8 to 14


def test_a_refused_click_keeps_the_last_mask():
    half = TRUTH & (np.arange(20) < 8)[:, None, None]

    def answer(clicks):
        if len(clicks) > 1:
            raise PromptError("no")
        return half

    scores, _ = protocol.click_through(answer, TRUTH, (1, 1, 1), clicks=3)
    expected = 2 * 4 / (4 + 11)  # slabs of half and of the truth
    assert [score.dice for score in scores] == pytest.approx([expected] * 3)
    assert [score.refused for score in scores] == [False, True, True]


def test_a_refused_box_is_an_empty_mask():
    def answer(box):
        raise PromptError("no")

    score = protocol.by_box(answer, protocol.drawn_box(TRUTH, 3), TRUTH)
    assert score.dice == 0 and score.refused


def test_the_same_seed_draws_the_same_box_and_its_faces_move_by_a_twentieth():
    long = np.ones((100, 4, 4), dtype=bool)
    long = np.pad(long, 20)
    boxes = [protocol.drawn_box(long, seed) for seed in range(40)]
    assert boxes[0] == protocol.drawn_box(long, 0)
    starts, stops = {box.start[0] for box in boxes}, {box.stop[0] for box in boxes}
    assert min(starts) >= 15 and max(starts) <= 25 and min(stops) >= 115 and max(stops) <= 125
    assert len(starts) > 5 and len(stops) > 5


def test_a_replay_hands_over_the_clicks_that_another_was_given():
    def ours(clicks):
        return TRUTH & (np.arange(20) < 6 + len(clicks))[:, None, None]

    _, points = protocol.click_through(ours, TRUTH, (1, 1, 1))
    given = []

    def answer(clicks):
        given.append(clicks)
        return TRUTH if len(clicks) == 5 else np.zeros_like(TRUTH)

    scores = protocol.replay(answer, points, TRUTH)
    assert given == [tuple(points[:3]), tuple(points)] and len(points) == 5
    assert [(score.prompt, score.dice) for score in scores] == [("click3", 0.0), ("click5", 1.0)]
