"""Slices form one stack of uniform gaps, or the error names the two that do not."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from sam_moe.errors import GeometryError
from sam_moe.space.files.stacking import stack

PATH, UP = Path("series"), np.array([0.0, 0.0, 1.0])


def names(count):
    return [f"{n}.dcm" for n in range(count)]


def column(*depths):
    """Slices above each other at these depths, in millimetres."""
    return np.array([(5.0, -7.0, depth) for depth in depths])


@given(
    st.tuples(*[st.floats(-300, 300)] * 3),
    st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: np.linalg.norm(v) > 0.1),
    st.floats(0.2, 10),
    st.integers(2, 40),
)
def test_a_uniform_stack_in_any_direction_is_its_first_slice_and_the_step(origin, direction, gap, count):
    normal = np.array(direction) / np.linalg.norm(direction)
    places = np.array(origin) + np.arange(count)[:, None] * gap * normal
    first, step = stack(PATH, places, normal, names(count))
    assert_allclose(first, origin, atol=1e-6)
    assert_allclose(step, gap * normal, atol=1e-6)


def test_positions_rounded_to_a_tenth_are_put_back_on_a_line_with_a_warning(caplog):
    places = column(*(round(0.625 * n, 1) for n in range(40)))
    origin, step = stack(PATH, places, UP, names(40))
    assert abs(step[2] - 0.625) < 0.001 and abs(origin[2]) < 0.06
    assert "the slices' positions are rounded" in caplog.text


@pytest.mark.parametrize(
    ("depths", "says"),
    [
        ((0, 3, 3, 6, 9), r"1\.dcm and 2\.dcm lie at the same place, 3\.00 mm"),
        (
            (0, 3, 6, 12, 15),
            r"6\.000 mm between 6\.00 and 12\.00 mm .*, as if 1 were missing",
        ),
        (
            (0, 3, 6, 7, 10),
            r"1\.000 mm between 6\.00 and 7\.00 mm .* \(2\.dcm and 3\.dcm\)\. Exp",
        ),
    ],
)
def test_gaps_that_differ_are_named_by_the_two_slices(depths, says):
    with pytest.raises(GeometryError, match=says):
        stack(PATH, column(*depths), UP, names(len(depths)))


def test_a_stack_that_bends_is_refused():
    places = column(0, 3, 6, 9, 12)
    places[2, 0] += 1
    with pytest.raises(GeometryError, match=r"slices lie up to 1\.000 mm beside the straight line"):
        stack(PATH, places, UP, names(5))
