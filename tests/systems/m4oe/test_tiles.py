"""Tiles cover what slices show, overlap enough, and give back what was cut."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sam_moe.systems.m4oe.tiles import Blend, Tile, cut, tiles_of

EDGE = 8


def shown(x, y, box):
    """One slice of zeros with ones in a box."""
    image = torch.zeros(1, 3, x, y)
    (a, b), (c, d) = box
    image[:, :, a:b, c:d] = 1
    return image


@given(st.integers(1, 30), st.integers(1, 30), st.data())
def test_tiles_cover_all_that_a_slice_shows_and_as_few_as_may_be(x, y, data):
    a, c = data.draw(st.integers(0, x - 1)), data.draw(st.integers(0, y - 1))
    b, d = data.draw(st.integers(a + 1, x)), data.draw(st.integers(c + 1, y))
    image = shown(x, y, ((a, b), (c, d)))
    tiles = tiles_of(image, EDGE)
    if b - a == x and d - c == y:  # nothing but one number shows nothing
        assert tiles == []
        return
    covered = torch.zeros(x, y, dtype=torch.bool)
    for tile in tiles:
        assert tile.slice == 0
        covered[max(0, tile.x) : max(0, tile.x + EDGE), max(0, tile.y) : max(0, tile.y + EDGE)] = True
    assert covered[a:b, c:d].all()
    if b - a <= EDGE and d - c <= EDGE:
        assert len(tiles) == 1
    for axis in ("x", "y"):
        starts = sorted({getattr(tile, axis) for tile in tiles})
        assert all(later - earlier <= EDGE * 3 // 4 for earlier, later in pairwise(starts))


def test_a_small_thing_lies_in_the_middle_of_its_tile_even_beyond_the_slice():
    assert tiles_of(shown(20, 20, ((0, 2), (10, 14))), EDGE) == [Tile(0, -3, 8)]


def test_a_slice_that_shows_nothing_has_no_tile_and_its_neighbours_theirs():
    images = torch.cat(
        [shown(9, 9, ((2, 4), (2, 4))), torch.zeros(1, 3, 9, 9), shown(9, 9, ((5, 6), (5, 6)))]
    )
    assert [tile.slice for tile in tiles_of(images, EDGE)] == [0, 2]


def test_where_tiles_lie_does_not_depend_on_other_slices():
    images = torch.randn(4, 3, 20, 13, generator=torch.Generator().manual_seed(0)) * torch.tensor(
        [1.0, 9.0, 0.1, 3.0]
    ).reshape(4, 1, 1, 1)
    alone = [tile._replace(slice=n) for n in range(4) for tile in tiles_of(images[n : n + 1], EDGE)]
    assert tiles_of(images, EDGE) == alone
    parts = [
        cut(images[n : n + 1], [t._replace(slice=0) for t in alone if t.slice == n], EDGE) for n in range(4)
    ]
    assert torch.equal(cut(images, alone, EDGE), torch.cat(parts))


def test_beyond_its_slice_a_tile_holds_the_slices_least_number():
    image = shown(3, 3, ((1, 2), (1, 2))) + 5
    (tile,) = cut(image, [Tile(0, -1, -1)], 4)
    assert torch.equal(tile[0], torch.tensor([[5.0, 5, 5, 5], [5, 5, 5, 5], [5, 5, 6, 5], [5, 5, 5, 5]]))


@pytest.mark.parametrize("size", [(8, 8), (21, 8), (17, 30), (5, 6)])
def test_what_was_cut_is_given_back_where_tiles_lie_and_background_elsewhere(size):
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    images[:, :, 0] = -9  # a border that shows nothing
    tiles = tiles_of(images, EDGE)
    blend = Blend((2, 3, *size), EDGE, sure=20.0)
    blend.add(tiles, cut(images, tiles, EDGE))
    found = blend.logits()
    torch.testing.assert_close(found[:, :, 1:], images[:, :, 1:], rtol=1e-5, atol=1e-5)
    nothing = Blend((1, 3, 4, 4), EDGE, sure=20.0).logits()
    assert torch.equal(nothing[0, :, 0, 0], torch.tensor([20.0, 0, 0]))
