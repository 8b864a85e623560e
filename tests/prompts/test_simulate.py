"""The simulated user clicks where a person would, repeats itself from a seed, and never crashes when done."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from sam_moe.errors import GeometryError, PromptError
from sam_moe.prompts import Box, Point
from sam_moe.prompts.simulate import box_around, centre_point, challenge_click, next_click

masks = arrays.arrays(bool, st.tuples(*[st.integers(1, 7)] * 3))
seeds = st.integers(0, 2**32 - 1)


def blank(*shape: int) -> np.ndarray:
    return np.zeros(shape or (20, 20, 20), bool)


def index(point: Point) -> tuple[int, ...]:
    return tuple(int(x) for x in point.at)


def test_the_centre_of_a_cube_is_its_middle():
    mask = blank()
    mask[4:9, 5:10, 6:11] = True
    assert centre_point(mask) == Point((6, 7, 8))


def test_the_centre_lies_in_the_larger_of_two_parts():
    mask = blank()
    mask[1:4, 1:4, 1:4] = True
    mask[10:15, 10:15, 10:15] = True
    assert centre_point(mask) == Point((12, 12, 12))


def test_parts_that_touch_at_a_corner_are_one():
    mask = blank()
    mask[0:2, 0:2, 0:2] = True  # 8 voxels, joined by a corner to
    mask[2:4, 2:4, 2:4] = True  # 8 more: 16 in all
    mask[10:12, 10:12, 10:13] = True  # 12 voxels on their own
    assert index(centre_point(mask))[0] < 4


def test_depth_is_counted_in_millimetres():
    # A long arm (9 x 3 x 3) and a slab (5 x 5 x 1) in one part: which is deeper depends on the spacing.
    mask = blank(20, 20, 5)
    mask[0:9, 8:11, 1:4] = True
    mask[10:15, 7:12, 2] = True
    mask[9, 9, 2] = True
    assert index(centre_point(mask))[0] <= 8
    assert index(centre_point(mask, spacing_mm=(1.0, 1.0, 10.0))) == (12, 9, 2)


def test_a_tube_is_clicked_half_way_along():
    mask = blank(30, 9, 9)
    mask[3:20, 4:7, 4:7] = True
    assert centre_point(mask) == Point((11, 5, 5))


def test_a_mask_that_fills_the_volume_is_clicked_in_its_middle():
    assert centre_point(np.ones((5, 7, 9), bool)) == Point((2, 3, 4))


@given(masks)
def test_the_centre_is_the_deepest_voxel_of_a_largest_part(mask):
    if not mask.any():
        with pytest.raises(PromptError, match="empty"):
            centre_point(mask)
        return
    at = index(centre_point(mask))
    parts, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    sizes = np.bincount(parts.ravel())[1:]
    part = parts == parts[at]
    assert mask[at] and part.sum() == sizes.max()
    outside = np.argwhere(~np.pad(part, 1)) - 1
    depths = {tuple(v): np.sqrt(((outside - v) ** 2).sum(axis=1).min()) for v in np.argwhere(part)}
    assert depths[at] == pytest.approx(max(depths.values()))


@given(masks, seeds)
def test_a_random_click_lies_in_the_mask_and_repeats_from_its_seed(mask, seed):
    if mask.any():
        ask = partial(next_click, mask, np.zeros_like(mask), strategy="random")
        point = ask(np.random.default_rng(seed))
        assert mask[index(point)] and point.positive
        assert ask(np.random.default_rng(seed)) == point


def test_random_clicks_reach_every_voxel_about_equally(rng):
    mask = blank(3, 3, 3)
    mask[0, 0, 0] = mask[1, 2, 0] = mask[2, 2, 2] = True
    counts = {tuple(v): 0 for v in np.argwhere(mask)}
    for _ in range(3000):
        counts[index(next_click(mask, blank(3, 3, 3), rng, strategy="random"))] += 1
    assert all(abs(count - 1000) < 130 for count in counts.values())  # five standard deviations


@given(masks, st.sampled_from(["largest-error", "random"]))
def test_a_perfect_prediction_gets_no_click(mask, strategy):
    assert next_click(mask, mask.copy(), None, strategy=strategy) is None


@given(masks, seeds, st.sampled_from(["largest-error", "random"]), st.data())
def test_a_click_lies_in_the_error_and_its_sign_is_the_truth(truth, seed, strategy, data):
    prediction = data.draw(arrays.arrays(bool, truth.shape))
    click = next_click(truth, prediction, np.random.default_rng(seed), strategy=strategy)
    if (truth == prediction).all():
        assert click is None
    else:
        assert truth[index(click)] != prediction[index(click)]
        assert click.positive == truth[index(click)]
        assert next_click(truth, prediction, np.random.default_rng(seed), strategy=strategy) == click


@settings(max_examples=25)
@given(masks, st.data())
def test_mending_what_is_clicked_ends(truth, data):
    prediction = data.draw(arrays.arrays(bool, truth.shape))
    for _ in range(int((truth != prediction).sum())):
        click = next_click(truth, prediction)
        prediction[index(click)] = truth[index(click)]
    assert next_click(truth, prediction) is None


def test_missed_tissue_gets_a_positive_and_false_tissue_a_negative_click():
    truth, prediction = blank(), blank()
    truth[2:9, 2:9, 2:9] = True
    assert next_click(truth, prediction) == Point((5, 5, 5), positive=True)
    prediction[2:9, 2:9, 2:9] = True
    prediction[12:17, 12:17, 12:17] = True
    assert next_click(truth, prediction) == Point((14, 14, 14), positive=False)


def test_missed_and_false_tissue_side_by_side_are_two_errors():
    truth, prediction = blank(), blank()
    truth[2:7, 5:10, 5:10] = True  # 125 voxels missed, next to
    prediction[7:11, 5:10, 5:10] = True  # 100 voxels made up
    assert next_click(truth, prediction) == Point((4, 7, 7), positive=True)


def test_masks_of_different_shapes_are_refused():
    with pytest.raises(GeometryError, match=r"\(2, 2, 2\).*\(3, 2, 2\).*one grid"):
        next_click(blank(2, 2, 2), blank(3, 2, 2))


def test_random_clicks_and_jitter_need_a_generator():
    one = blank()
    one[0, 0, 0] = True
    with pytest.raises(PromptError, match="default_rng"):
        next_click(one, blank(), strategy="random")
    with pytest.raises(PromptError, match="default_rng"):
        box_around(one, jitter=0.1)


def test_the_box_of_a_mask_is_half_open():
    mask = blank()
    mask[3, 4, 5] = mask[6, 4, 9] = True
    assert box_around(mask) == Box((3, 4, 5), (7, 5, 10))
    assert box_around(mask, margin=4) == Box((0, 0, 1), (11, 9, 14))


@given(masks, seeds, st.floats(0, 3), st.integers(0, 9))
def test_a_drawn_box_stays_in_the_volume_and_repeats_from_its_seed(mask, seed, jitter, margin):
    if not mask.any():
        with pytest.raises(PromptError, match="empty"):
            box_around(mask)
        return
    box = box_around(mask, np.random.default_rng(seed), jitter, margin)
    assert all(0 <= a < b <= n for a, b, n in zip(box.start, box.stop, mask.shape, strict=True))
    assert all(float(edge).is_integer() for edge in (*box.start, *box.stop))
    assert box_around(mask, np.random.default_rng(seed), jitter, margin) == box


def test_jitter_moves_no_side_by_more_than_its_share(rng):
    mask = blank(60, 60, 60)
    mask[20:40, 15:45, 28:32] = True  # edges of 20, 30 and 4 voxels: at a tenth 2, 3 and none
    drawn = [box_around(mask, rng, jitter=0.1) for _ in range(300)]
    assert {box.start[0] for box in drawn} == {18, 19, 20, 21, 22}
    assert {box.stop[1] for box in drawn} == {42, 43, 44, 45, 46, 47, 48}
    assert {(box.start[2], box.stop[2]) for box in drawn} == {(28, 32)}


@pytest.mark.parametrize(("jitter", "margin"), [(-0.1, 0), (0.0, -1)])
def test_negative_jitter_or_margin_is_refused(jitter, margin):
    with pytest.raises(PromptError, match="not be negative"):
        box_around(np.ones((3, 3, 3), bool), jitter=jitter, margin=margin)


def test_the_challenge_counts_depth_in_voxels_and_joins_missed_with_false_tissue():
    # Missed: a slab of 3 voxels and the false slab behind it, 2 more; together 5 deep, the middle is voxel 6.
    truth, answer = blank(), blank()
    truth[4:7, 2:17, 2:17] = True
    answer[7:9, 2:17, 2:17] = True
    click = challenge_click(truth, answer)
    assert click is not None and click.at[0] == 6 and click.positive
    answer[7:12, 2:17, 2:17] = True  # 8 deep: the middle, 7 or 8, is false tissue
    click = challenge_click(truth, answer)
    assert click is not None and click.at[0] in (7, 8) and not click.positive


def test_the_challenge_draws_among_equally_deep_voxels_by_its_seed():
    # Along k every voxel of a line is equally deep; numpy.random.seed(42) then choice(8) gives 6.
    truth = blank(3, 3, 12)
    truth[1, 1, 2:10] = True
    np.random.seed(42)
    assert challenge_click(truth, blank(3, 3, 12)) == Point((1, 1, 2 + np.random.choice(8)))


def test_the_challenge_counts_voxels_in_the_order_of_its_files():
    # Four equally deep voxels in a plane; its arrays are (k, j, i): there the order is (0, 0), (0, 1),
    # (1, 0), (1, 1) of (j, i), and seed 42 takes number 2.
    truth = blank(4, 4, 3)
    truth[1:3, 1:3, 1] = True
    np.random.seed(42)
    assert np.random.choice(4) == 2
    assert challenge_click(truth, blank(4, 4, 3)) == Point((1, 2, 1))


@given(masks)
def test_the_challenge_has_nothing_to_say_to_a_perfect_answer(mask):
    assert challenge_click(mask, mask) is None


def test_the_challenge_refuses_masks_of_two_shapes():
    with pytest.raises(GeometryError, match="one grid"):
        challenge_click(blank(), blank(3, 3, 3))
