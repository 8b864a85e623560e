"""What a brush or a lasso painted becomes a line along its middle, or a curve around it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_moe.errors import PromptError
from sam_moe.prompts import Prompt
from sam_moe.prompts.lowering import Lowering, lower
from sam_moe.prompts.painted import loops_of, outline, strokes_of


def test_a_thick_painted_line_becomes_a_stroke_along_its_middle():
    painted = np.zeros((40, 12, 3), bool)
    painted[5:35, 4:9, 1] = True  # 30 x 5 on one slice
    (stroke,) = strokes_of(painted)
    inner = np.array(stroke.points)[5:-5]
    assert len(inner) > 15
    assert set(inner[:, 1]) == {6} and set(inner[:, 2]) == {1}
    (point,) = lower(Prompt((stroke,)), np.eye(4), painted.shape)
    np.testing.assert_allclose(point.at, (19.5, 6, 1), atol=1)


def test_each_part_is_a_stroke_of_its_own_the_largest_first_and_placed_in_the_scan():
    painted = np.zeros((30, 30, 1), bool)
    painted[2, 3, 0] = True
    painted[10:20, 8, 0] = True
    long, dot = strokes_of(painted, positive=False, first=(100, 50, 7))
    assert {long.points[0], long.points[-1]} == {(110, 58, 7), (119, 58, 7)}
    assert dot.points == ((102, 53, 7),) and not dot.positive


def test_a_stroke_of_very_many_voxels_keeps_its_middle():
    painted = np.zeros((300, 130, 1), bool)
    painted[:, 15:115] = True
    (stroke,) = strokes_of(painted)
    (point,) = lower(Prompt((stroke,)), np.eye(4), painted.shape)
    np.testing.assert_allclose(point.at, (149.5, 64.5, 0), atol=12)


@pytest.mark.parametrize("axis", range(3))
def test_a_filled_slice_becomes_a_loop_on_that_slice_whatever_the_axis(axis):
    painted = np.zeros((9, 12, 15), bool)
    where = [slice(2, 7), slice(3, 8), slice(4, 9)]
    where[axis] = slice(5, 6)
    painted[tuple(where)] = True
    (loop,) = loops_of(painted, first=(10, 20, 30))
    low, high = np.array(loop.points).min(axis=0), np.array(loop.points).max(axis=0)
    for other in range(3):
        begin, end = where[other].start + (10, 20, 30)[other], where[other].stop + (10, 20, 30)[other]
        edges = (begin, begin) if other == axis else (begin - 0.5, end - 0.5)
        assert (low[other], high[other]) == edges
    assert len(loop.points) == 4


@given(st.integers(0, 2**25 - 1))
def test_the_outline_encloses_the_pixels_of_a_part_and_no_others(bits):
    from scipy import ndimage

    pixels = np.array([bits >> n & 1 for n in range(25)], bool).reshape(5, 5)
    labels, count = ndimage.label(pixels, np.ones((3, 3)))
    if not count:
        return
    part = ndimage.binary_fill_holes(labels == 1)
    if ndimage.label(~np.pad(part, 1), np.ones((3, 3)))[1] > 1 or ndimage.label(part)[1] > 1:
        return  # parts that hang together by corners alone have no single outline
    curve = outline(part)
    drawn = np.array([[_inside(curve, x, y) for y in range(5)] for x in range(5)])
    np.testing.assert_array_equal(drawn, part)


def _inside(curve: np.ndarray, x: float, y: float) -> bool:
    crossings = 0
    for (x0, y0), (x1, y1) in zip(curve, np.roll(curve, -1, axis=0), strict=True):
        if (y0 > y) != (y1 > y):
            crossings += x < x0 + (y - y0) / (y1 - y0) * (x1 - x0)
    return crossings % 2 == 1


def test_what_is_not_painted_or_not_on_one_slice_is_refused():
    with pytest.raises(PromptError, match="nothing is painted"):
        strokes_of(np.zeros((3, 3, 3), bool))
    with pytest.raises(PromptError, match="several slices on each axis"):
        loops_of(np.ones((3, 3, 3), bool))


def test_a_loop_of_a_painted_ring_of_pixels_is_filled():
    painted = np.zeros((20, 20, 1), bool)
    painted[4:15, 4:15] = True
    painted[6:13, 6:13] = False
    (loop,) = loops_of(painted)
    (point,) = lower(Prompt((loop,)), np.eye(4), painted.shape, Lowering())
    np.testing.assert_allclose(point.at, (9, 9, 0), atol=0.3)
