"""What the simulated user draws lies on one slice of its target, or of the error it mends."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_moe.errors import PromptError
from sam_moe.prompts import Box, Prompt
from sam_moe.prompts.lowering import lower
from sam_moe.prompts.simulate import largest_error
from sam_moe.prompts.sketch import (
    drawing_axis,
    flat_box,
    loop_around,
    middle_slice,
    next_loop,
    next_stroke,
    stroke_along,
)


def ball(centre=(12, 14, 8), radius=6.0, shape=(24, 26, 18)) -> np.ndarray:
    return sum((g - c) ** 2 for g, c in zip(np.indices(shape), centre, strict=True)) <= radius**2


def test_a_person_draws_across_the_thickest_voxels():
    assert drawing_axis((1, 1, 5)) == drawing_axis((1, 1, 1)) == 2
    assert drawing_axis((3, 1, 1)) == 0 and drawing_axis((1, 3, 3)) == 2


def test_the_middle_slice_is_the_one_of_the_middle_voxel():
    mask = np.zeros((9, 3, 3), bool)
    mask[1], mask[7, 0, 0] = True, True  # nine voxels, then one
    assert middle_slice(mask, 0) == 1
    for axis in range(3):
        index = np.sort(np.nonzero(mask)[axis])
        assert middle_slice(mask, axis) == index[len(index) // 2]  # as get_boxes.py has it
    with pytest.raises(PromptError, match="is empty"):
        middle_slice(np.zeros((3, 3, 3), bool), 0)


@pytest.mark.parametrize("axis", range(3))
def test_everything_drawn_on_a_ball_lies_on_its_middle_slice(axis):
    mask = ball()
    at = (12, 14, 8)[axis]
    box = flat_box(mask, axis)
    assert box.flat_axes(np.eye(4)) == (axis,) and box.centre == (12, 14, 8)
    sides = [box.size[other] for other in range(3) if other != axis]
    assert sides == [13, 13] and box.start[axis] == at
    stroke, loop = stroke_along(mask, axis), loop_around(mask, axis)
    for item in (stroke, loop):
        assert set(item.places[:, axis]) == {at}
        (point,) = lower(Prompt((item,)), np.eye(4), mask.shape)
        assert mask[tuple(round(c) for c in point.at)]
    assert all(mask[tuple(place)] for place in stroke.places.astype(int))
    assert (np.ptp(loop.places, axis=0) == [0 if other == axis else 13 for other in range(3)]).all()


@given(st.integers(0, 99))
def test_a_drawn_box_moves_within_its_jitter_and_stays_on_its_slice(seed):
    box = flat_box(ball(), 2, np.random.default_rng(seed), jitter=0.2)
    assert (box.start[2], box.stop[2]) == (8, 9)
    assert np.abs(np.subtract(box.start, flat_box(ball(), 2).start)).max() <= 2
    assert box == flat_box(ball(), 2, np.random.default_rng(seed), jitter=0.2)
    loop = loop_around(ball(), 2, np.random.default_rng(seed), jitter=0.05)
    assert set(loop.places[:, 2]) == {8}
    assert np.abs(loop.places - loop_around(ball(), 2).places).max() <= 0.65


def test_a_jittered_loop_needs_a_generator():
    with pytest.raises(PromptError, match="needs a generator"):
        loop_around(ball(), 2, jitter=0.1)


def test_the_stroke_and_the_loop_that_mend_lie_on_the_largest_error_with_its_sign():
    truth, prediction = ball(), ball(radius=4.0) | ball((3, 3, 3), 1.0)
    error, missed = largest_error(truth, prediction)
    assert missed and (error == (truth & ~prediction)).all()
    assert next_stroke(truth, prediction, 2).positive and next_loop(truth, prediction, 2).positive
    grown = truth | ball((3, 3, 3), 2.0)
    stroke, loop = next_stroke(truth, grown, 1), next_loop(truth, grown, 1)
    assert not stroke.positive and not loop.positive
    assert (3, 3, 3) in stroke.points or np.abs(stroke.places - 3).max() <= 1
    assert set(loop.places[:, 1]) == {3}
    assert next_stroke(truth, truth, 2) is None and next_loop(truth, truth, 2) is None
    assert largest_error(truth, truth) is None


def test_a_single_voxel_can_be_boxed_scribbled_and_lassoed():
    mask = np.zeros((5, 5, 5), bool)
    mask[2, 3, 4] = True
    assert flat_box(mask, 0) == Box((2, 3, 4), (3, 4, 5))
    assert stroke_along(mask, 0).points == ((2, 3, 4),)
    assert loop_around(mask, 0).places.mean(axis=0).tolist() == [2, 3, 4]
