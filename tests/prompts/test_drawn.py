"""Strokes and loops keep their order, place and sign, and refuse what encloses nothing."""

import numpy as np
import pytest

from sam_moe.errors import PromptError
from sam_moe.prompts import Loop, Prompt, Stroke

AFFINE = np.array([[0, 0, 5.0, 1], [2, 0, 0, 2], [0, -3, 0, 3], [0, 0, 0, 1]])
SQUARE = ((0, 0, 4), (8, 0, 4), (8, 8, 4), (0, 8, 4))


@pytest.mark.parametrize("item", [Stroke(SQUARE), Loop(SQUARE), Loop(SQUARE, positive=False)])
def test_what_is_drawn_is_carried_vertex_by_vertex_and_comes_back(item):
    (world,) = Prompt((item,)).in_mm(AFFINE)
    assert world.points[1] == (21, 18, 3)  # 5 * 4 + 1, 2 * 8 + 2, 3
    assert (type(world), world.positive, world.space) == (type(item), item.positive, "mm")
    (back,) = Prompt((world,)).in_voxels(AFFINE)
    np.testing.assert_allclose(back.points, item.points, atol=1e-12)
    assert str(back)[0] == ("+" if item.positive else "-")


def test_a_loop_that_was_taken_is_not_refused_on_another_grid():
    uneven = Loop(((0, 0, 4), (8, 0, 4.5), (8, 8, 4), (0, 8, 4.5)))
    (world,) = Prompt((uneven,)).in_mm(np.diag([0.5, 0.5, 10, 1]))
    assert world.points[1] == (4, 0, 45)


def test_a_loop_without_area_or_plane_is_refused():
    with pytest.raises(PromptError, match=r"encloses nothing.*give a Stroke"):
        Loop(((0, 0, 0), (1, 1, 1), (2, 2, 2)))
    with pytest.raises(PromptError, match="not lie on one plane"):
        Loop(((0, 0, 0), (8, 0, 0), (0, 8, 0), (0, 0, 8)))
    with pytest.raises(PromptError, match="a loop of 2 points is too short"):
        Loop(((0, 0, 0), (8, 0, 0)))
    with pytest.raises(PromptError, match="a stroke of 0 points is too short"):
        Stroke(())


def test_a_vertex_that_is_no_place_is_named():
    with pytest.raises(PromptError, match="point 1 of a stroke must be finite"):
        Stroke(((0.0, 0.0, 0.0), (0.0, np.nan, 0.0)))


def test_what_sticks_out_is_refused_in_voxels_and_taken_in_millimetres():
    with pytest.raises(PromptError, match=r"stroke of 4 points.*reaches out of the volume"):
        Prompt((Stroke(SQUARE),)).check_inside(np.eye(4), (8, 9, 9))
    Prompt((Stroke(SQUARE),)).check_inside(np.eye(4), (9, 9, 9))
    Prompt((Stroke(SQUARE, space="mm"),)).check_inside(np.eye(4), (8, 9, 9))
    with pytest.raises(PromptError, match="lies outside"):
        Prompt((Loop(SQUARE, space="mm"),)).check_inside(np.eye(4), (9, 9, 3))


def test_a_prompt_shows_its_target_by_any_positive_item():
    aside = Loop(SQUARE, positive=False)
    assert not Prompt((aside, Stroke(SQUARE, positive=False))).shows_target
    assert Prompt((aside, Stroke(SQUARE))).shows_target and Prompt((Loop(SQUARE),)).shows_target
