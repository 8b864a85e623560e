"""What a session keeps for undo: answers within a bound, and the same bits however far one walks back."""

import sys
from dataclasses import replace

import pytest
import torch

from sam_moe.moe.rules.argmax import Argmax
from sam_moe.predict.answering import Answer
from sam_moe.predict.history import History, Turn
from sam_moe.predict.predictor import Predictor
from sam_moe.prompts import Point, Prompt
from sam_moe.space.grid import Grid
from sam_moe.space.phantom import ball, two_regions
from tests.predict.ruled import choosing

REGION = Grid.around((0, 0, 0), (8, 8, 8), (1, 1, 1))
AN_ANSWER = 4 * 16**3  # bytes of the random model's low-resolution logits


def click(number: int) -> Point:
    """One of many places in the phantom, each second one a correction."""
    return Point((16 + number % 13, 18 + number % 7, 20 + number % 5), positive=number % 2 == 0)


def walked(session: Predictor, count: int) -> list:
    """The answers to so many clicks: given, then met on the way back and on the way forth again."""
    given = [session.predict(click(0)), *(session.refine(click(n)) for n in range(1, count))]
    back = [session.undo() for _ in range(count)]
    forth = [session.redo() for _ in range(count)]
    assert back[-1] is None
    return [given, [*reversed(back[:-1])], forth]


@pytest.mark.parametrize("kept", [0, 3, 1000])
@pytest.mark.parametrize("whole", [False, True])
def test_undo_and_redo_give_the_same_bits_however_little_is_kept(mixture, generator, kept, whole):
    model = replace(choosing(mixture, Argmax()), history_bytes=kept * AN_ANSWER, whole_targets=whole)
    given, back, forth = walked(model.open(ball(generator)[0]), 5)
    for first, again in zip([*given[:-1], *given], [*back, *forth], strict=True):
        assert torch.equal(first.answer.array, again.answer.array)
        assert torch.equal(first.mask, again.mask)
        assert (first.prompt, first.answered) == (again.prompt, again.answered)
        assert first.region.same_as(again.region)


def test_an_answer_that_is_made_again_says_what_that_took(mixture, generator):
    session = replace(mixture, history_bytes=0).open(ball(generator)[0])
    session.predict(click(0))
    session.refine(click(2))
    again = session.undo()
    assert "decode" in again.timings_ms and again.latency_ms > again.timings_ms["restore"]


def held(session: Predictor) -> int:
    """Bytes of all different tensors that a session's history can reach."""
    seen: dict[int, int] = {}
    for turn in (*session._history.past, *session._history.future):
        if turn.answer is not None:
            seen[turn.answer.logits.data_ptr()] = turn.answer.logits.untyped_storage().nbytes()
    return sum(seen.values())


def test_a_history_has_a_bound_and_holds_no_volumes(model, generator):
    """Each turn kept the probability before, up to 20 MB where a target was refined."""
    scan, _ = two_regions(generator)
    session = replace(model, history_bytes=3 * AN_ANSWER).open(scan)
    for number in range(8):
        found = session.refine(click(number))
        assert held(session) <= 4 * AN_ANSWER  # the standing one is always kept
    assert found.answer.array.nbytes > 4 * AN_ANSWER
    for _ in range(5):
        session.undo()
        assert held(session) <= 4 * AN_ANSWER


def test_the_turns_farthest_from_the_present_lose_their_answers_first():
    def turn(count: int) -> Turn:
        return Turn(REGION, Answer(torch.zeros(2, 2, 2), REGION), count, count)

    history = History(limit_bytes=2 * 32)
    for count in range(1, 6):
        begun = history.begin if count == 1 else history.add
        begun(turn(count), [Point((count, 0, 0))], [Point((count, 0, 0), space="mm")])
    assert [one.known for one in history.past] == [False, False, False, True, True]
    history.back()
    history.back()
    assert history.known() == 0
    history.put(2, turn(3))
    assert [one.known for one in history.past] == [False, False, True]
    assert [one.known for one in history.future] == [False, True]


def test_a_new_click_after_undo_takes_the_place_of_what_was_undone(model, generator):
    session = replace(model, whole_targets=False).open(ball(generator)[0])
    session.predict(click(0))
    session.refine(click(2), click(4))
    session.undo()
    found = session.refine(click(6))
    assert found.prompt == session.prompt == Prompt((click(0), click(6)))
    assert session.redo().prompt == found.prompt
    assert session.undo().prompt == Prompt((click(0),))


def calls(session: Predictor, item: Point) -> int:
    """How many Python functions a further click calls."""
    count = 0

    def counted(frame, event, argument) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(counted)
    try:
        session.refine(item)
    finally:
        sys.setprofile(None)
    return count


def test_what_is_done_beside_decoding_hardly_grows_with_the_clicks(model, generator):
    """Each click before was checked and mapped anew, some seventy calls for each of them."""
    session = replace(model, whole_targets=False).open(ball(generator)[0])
    session.predict(click(0))
    few = [calls(session, click(n)) for n in range(1, 5)][-1]
    session.refine(*(click(n) for n in range(5, 150)))
    many = [calls(session, click(n)) for n in range(150, 154)][-1]
    assert many - few < 15 * 149
