"""Pieces of disagreement, worked out by hand on a line of voxels, and properties on random masks."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sam_moe.predict.starting.pieces import Click, PackedPiece, Piece, around, disagreement
from sam_moe.space.connected import parts_at

SHAPE = (4, 5, 6)


def line(text: str) -> torch.Tensor:
    """A mask of 1 x 1 x n voxels: x where it has one."""
    return torch.tensor([letter == "x" for letter in text])[None, None]


def words(piece: Piece, count: int) -> str:
    """A piece of a line as text again."""
    found = torch.zeros(1, 1, count, dtype=torch.bool)
    found[piece.box.slices] = piece.inside
    return "".join("x" if voxel else "." for voxel in found.flatten().tolist())


def whole(piece: Piece, shape: tuple[int, int, int] = SHAPE) -> torch.Tensor:
    found = torch.zeros(shape, dtype=torch.bool)
    found[piece.box.slices] = piece.inside
    return found


#        0123456789
MASK = "..xxxx.x.."
FOUND = "xxxx..x..x"


@pytest.mark.parametrize(
    ("at", "positive", "gained", "lost"),
    [
        (0, True, "xx........", ".........."),  # the piece before the mask
        (6, True, "......x...", ".........."),  # a piece between two parts of it
        (9, True, ".........x", ".........."),
        (4, False, "..........", "....xx...."),
        (7, False, "..........", ".......x.."),
        (2, True, "..........", ".........."),  # both have it
        (8, False, "..........", ".........."),  # neither has it
        (4, True, "..........", ".........."),  # the answer loses what the click is on
        (0, False, "..........", ".........."),  # the answer gains what the click is not on
    ],
)
def test_a_click_changes_the_piece_that_it_lies_in(at, positive, gained, lost):
    found = disagreement(Piece.of(line(MASK)), Piece.of(line(FOUND)), [Click((0, 0, at), positive)])
    assert (words(found.gained, 10), words(found.lost, 10)) == (gained, lost)
    assert found.both.voxels == gained.count("x") + lost.count("x")


def test_several_clicks_change_a_piece_each():
    clicks = [Click((0, 0, 1), True), Click((0, 0, 7), False), Click((0, 0, 9), True)]
    found = disagreement(Piece.of(line(MASK)), Piece.of(line(FOUND)), clicks)
    assert words(found.gained, 10) == "xx.......x" and words(found.lost, 10) == ".......x.."
    assert words(Piece.of(line(MASK)).toggled(found.both), 10) == "xxxxxx...x"


def test_pieces_that_touch_at_a_corner_alone_are_two():
    found = torch.zeros(2, 2, 1, dtype=torch.bool)
    found[0, 0], found[1, 1] = True, True
    changed = disagreement(Piece.of(torch.zeros_like(found)), Piece.of(found), [Click((0, 0, 0), True)])
    assert changed.gained.voxels == 1 and changed.gained.box.start == (0, 0, 0)


def test_without_a_mask_or_without_an_answer_there_is_what_the_other_has():
    nothing, some = Piece.of(line("....")), Piece.of(line(".xx."))
    assert nothing.voxels == 0 and around(nothing).empty
    assert disagreement(nothing, some, [Click((0, 0, 1), True)]).gained.voxels == 2
    assert disagreement(some, nothing, [Click((0, 0, 1), False)]).lost.voxels == 2
    assert disagreement(nothing, nothing, [Click((0, 0, 1), True)]).both.voxels == 0


masks = st.binary(min_size=15, max_size=15).map(
    lambda bits: torch.from_numpy(np.unpackbits(np.frombuffer(bits, np.uint8)).astype(bool)).view(SHAPE)
)
clicks = st.lists(
    st.builds(Click, st.tuples(*[st.integers(0, n - 1) for n in SHAPE]), st.booleans()), max_size=4
)


@given(masks, masks, clicks)
def test_a_voxel_outside_the_pieces_of_the_clicks_never_changes(mask, answer, given_clicks):
    before = Piece.of(mask)
    changed = disagreement(before, Piece.of(answer), given_clicks)
    after = whole(before.toggled(changed.both))
    positive = [click.at for click in given_clicks if click.positive]
    negative = [click.at for click in given_clicks if not click.positive]
    allowed = parts_at(answer & ~mask, positive) | parts_at(mask & ~answer, negative)
    assert torch.equal(after ^ mask, allowed)
    assert torch.equal(after[allowed], answer[allowed])


@given(masks, masks)
def test_toggled_twice_a_piece_is_itself_to_the_bit(mask, other):
    piece, change = Piece.of(mask), Piece.of(other)
    assert torch.equal(whole(piece.toggled(change)), mask ^ other)
    again = piece.toggled(change).toggled(change)
    assert again.box == piece.box and torch.equal(again.inside, piece.inside)


@given(masks)
def test_packing_keeps_every_voxel_and_the_smallest_box(mask):
    piece = Piece.of(mask)
    again = PackedPiece.of(piece).unpacked()
    assert again.box == piece.box and torch.equal(again.inside, piece.inside)
    assert torch.equal(whole(piece), mask)
    assert piece.voxels == int(mask.sum())


def test_a_packed_piece_takes_far_less_than_a_byte_a_voxel():
    piece = Piece.of(torch.ones(64, 64, 64, dtype=torch.bool))
    assert PackedPiece.of(piece).nbytes < 64**3 / 8 / 20


def test_a_piece_knows_where_its_corner_lies():
    mask = torch.zeros(3, 3, 3, dtype=torch.bool)
    mask[1, 2, 1:] = True
    piece = Piece.of(mask, corner=(10, 20, 30))
    assert (piece.box.start, piece.box.stop) == ((11, 22, 31), (12, 23, 33))
    assert piece.over(piece.box).all()
