"""Overlapping regions laid over a coarse answer."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from sam_moe.predict.answering import Answer
from sam_moe.predict.regions.refine import deepest, plan, refine, tiles
from sam_moe.prompts import Point, Prompt
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume, resample

numbers = st.floats(-200, 200)


@given(
    st.tuples(numbers, numbers, numbers),
    st.tuples(*[st.floats(0, 300)] * 3),
    st.tuples(numbers, numbers, numbers),
)
def test_tiles_cover_the_box_well_inside_and_lie_on_one_lattice(low, size, anchor):
    box = np.array([low, np.add(low, size)])
    found = tiles(box, np.array(anchor), (32, 32, 32), 1.5)
    centres = np.array([t.world_of([16, 16, 16]) for t in found])
    stride = 20 * 1.5
    steps = (centres - anchor) / stride
    assert_allclose(steps, np.round(steps), atol=1e-6)
    for corner in np.stack(np.meshgrid(*box.T), axis=-1).reshape(-1, 3):
        nearest = np.abs(centres - corner).max(axis=1).min()
        assert nearest <= stride / 2 + 1e-6  # at least 9 mm from that tile's border


def rough(shape=(16, 16, 16)):
    logits = torch.full(shape, -6.0)
    logits[3:13, 6:10, 6:10] = 6
    return Answer(logits, Grid.around((0, 0, 0), (32, 32, 32), (6, 6, 6)))


def test_a_plan_is_as_fine_as_the_number_of_regions_allows():
    coarse = rough().probability()
    assert all(t.spacing_mm == (1.5, 1.5, 1.5) for t in plan(coarse, (32, 32, 32), 1.5, most=200))
    few = plan(coarse, (32, 32, 32), 1.5, most=8)
    assert 0 < len(few) <= 8 and few[0].spacing_mm[0] > 1.5


def test_an_empty_coarse_mask_needs_no_refinement():
    nothing = Volume(torch.zeros(32, 32, 32), Grid.around((0, 0, 0), (32, 32, 32), (6, 6, 6)))
    assert plan(nothing, (32, 32, 32), 1.5, most=8) == []


def test_joined_regions_restore_what_every_region_agrees_on():
    """Each region answers with the true target as it lies in the world, and so must the joined answer."""
    truth = Volume(torch.zeros(100, 40, 40), Grid.around((0, 0, 0), (100, 40, 40), (1.5, 1.5, 1.5)))
    truth.array[15:85, 12:28, 12:28] = 1
    asked = []

    def answer(region, prompt, previous):
        asked.append((region, prompt))
        seen = resample(truth, onto=Grid(region.affine, region.shape)).array
        low = torch.nn.functional.avg_pool3d(seen[None], 2)[0]
        return Answer(12 * (low - 0.5), region)

    regions = plan(rough().probability(), (32, 32, 32), 1.5, most=200)
    click = Prompt((Point((-30.0, 0, 0), space="mm"),))
    shares = []
    joined = refine(rough(), click, regions, answer, shares.append)
    assert shares == [(n + 1) / len(regions) for n in range(len(regions))]
    assert joined.grid.spacing_mm == (1.5, 1.5, 1.5)
    found = resample(joined, onto=truth.grid).array > 0.5
    overlap = 2 * (found & truth.array.bool()).sum() / (found.sum() + truth.array.sum())
    assert overlap > 0.95
    for region, prompt in asked:  # the user's click where it falls, else one inside the coarse mask
        holds = region.inside(region.index_of((-30, 0, 0)))
        assert (prompt.points[0].at == (-30, 0, 0)) == holds and len(prompt.points) == 1
        assert prompt.points[0].positive and len(prompt.boxes) == 1
        inside = resample(rough().probability(), onto=region).array > 0.5
        corners = region.index_of([prompt.boxes[0].start, prompt.boxes[0].stop])
        assert inside.sum() == inside[_between(corners)].sum()  # the box holds what the coarse mask has there


def _between(corners):
    return tuple(slice(round(a + 0.5), round(b + 0.5)) for a, b in corners.T)


def test_regions_without_any_of_the_mask_keep_the_coarse_answer():
    far = Grid.around((80, 80, 80), (32, 32, 32), (1.5, 1.5, 1.5))

    def never(*_):
        raise AssertionError("nothing to ask there")

    joined = refine(rough(), Prompt((Point((0, 0, 0), space="mm"),)), [far], never, lambda share: None)
    expected = resample(rough().probability(), onto=joined.grid).array
    assert torch.equal(joined.array, expected)


def test_the_deepest_voxel_of_a_ball_is_its_middle():
    i = torch.arange(21)
    ball = ((i[:, None, None] - 8) ** 2 + (i[:, None] - 10) ** 2 + (i - 12) ** 2) <= 36
    found = deepest(ball)
    assert found is not None and (found - torch.tensor([8, 10, 12])).abs().max() <= 1
    assert deepest(torch.zeros(4, 4, 4, dtype=torch.bool)) is None
