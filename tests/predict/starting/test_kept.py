"""A mask that changes piece by piece, on a line of voxels."""

import pytest
import torch

from sam_moe.predict.starting.kept import KeptMask
from sam_moe.predict.starting.pieces import Click, PackedPiece, Piece

FIRST = "..xxxx.x.."
CALLS = (("xxxx..x..x", 0, True), ("..xx..xx..", 5, False), ("xxxxxxxxxx", 8, True))
AFTER = ("xxxxxx.x..", "xxxx...x..", "xxxx...xxx")


def line(text):
    return Piece.of(torch.tensor([letter == "x" for letter in text])[None, None])


def words(piece):
    found = torch.zeros(1, 1, 10, dtype=torch.bool)
    found[piece.box.slices] = piece.inside
    return "".join("x" if voxel else "." for voxel in found.flatten().tolist())


class Answers:
    """The answers to all calls, counted when they are asked for once more."""

    def __init__(self):
        self.asked = []

    def __call__(self, count):
        self.asked.append(count)
        for text, at, positive in CALLS[:count]:
            yield line(text), [Click((0, 0, at), positive)]


def changed(limit_bytes):
    answers = Answers()
    mask = KeptMask(lambda: line(FIRST), answers, limit_bytes)
    for (text, at, positive), expected in zip(CALLS, AFTER, strict=True):
        mask.change(line(text), [Click((0, 0, at), positive)])
        assert words(mask.piece) == expected
    return mask, answers


@pytest.mark.parametrize("limit_bytes", [0, 12, 1000])
def test_back_and_forth_the_mask_is_the_same_however_little_is_kept(limit_bytes):
    mask, _ = changed(limit_bytes)
    assert [(one.gained, one.lost) for one in mask.past] == [(2, 0), (0, 2), (2, 0)]
    for expected in (*AFTER[1::-1], FIRST):
        mask.back()
        assert words(mask.piece) == expected
    for expected in AFTER:
        mask.forth()
        assert words(mask.piece) == expected
    assert [(one.gained, one.lost) for one in mask.past] == [(2, 0), (0, 2), (2, 0)] and not mask.future


def test_with_room_nothing_is_answered_again_and_without_any_each_step_is():
    for limit_bytes, expected in ((1000, []), (0, [2, 1, 0, 1])):
        mask, answers = changed(limit_bytes)
        for _ in CALLS:
            mask.back()
        mask.forth()
        assert answers.asked == expected


def test_the_changes_farthest_from_the_present_are_let_go_of_first():
    one = PackedPiece.of(line("xx........")).nbytes
    mask, _ = changed(2 * one)
    assert [change.packed is None for change in mask.past] == [True, False, False]
    assert sum(change.nbytes for change in mask.past) <= 2 * one


def test_a_change_forgets_what_was_taken_back():
    mask, _ = changed(1000)
    mask.back()
    mask.change(line("x........."), [Click((0, 0, 3), False)])
    assert not mask.future and words(mask.piece) == "x......x.."


def test_an_answer_that_fails_leaves_the_mask_where_it_was():
    def broken(count):
        raise MemoryError
        yield

    mask = KeptMask(lambda: line(FIRST), broken, 0)
    text, at, positive = CALLS[0]
    mask.change(line(text), [Click((0, 0, at), positive)])
    with pytest.raises(MemoryError):
        mask.back()
    assert words(mask.piece) == AFTER[0] and len(mask.past) == 1 and not mask.future
