"""Which region a prompt asks for, and what is cut there."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from torch.nn import functional as F

from sam_moe.errors import PromptError
from sam_moe.predict.regions import (
    block_mean,
    bounds_of,
    covers,
    cut,
    deepest,
    home_of,
    region_at,
    region_for,
    touches_border,
    wider,
)
from sam_moe.prompts import Box, Point, Prompt
from sam_moe.registry import Preprocessing
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume, resample

PUBLIC = Preprocessing(region_voxels=128, spacing_mm=1.5, normalisation="positive")
SMALL = Preprocessing(
    region_voxels=64,
    spacing_mm=1.5,
    normalisation="mean",
    zoom_min=0.5,
    zoom_max=6,
    box_fill=0.6,
    click_zoom=1.5,
)
places = st.tuples(*[st.floats(-300, 300)] * 3)


def mm(*items):
    return Prompt(items)


@given(places)
def test_a_click_stands_in_the_middle_of_its_region(at):
    region = region_for(mm(Point(at, space="mm")), PUBLIC)
    assert region.shape == (128, 128, 128) and region.spacing_mm == (1.5, 1.5, 1.5)
    assert_allclose(region.index_of(at), (64, 64, 64), atol=1e-9)


@given(places, st.tuples(*[st.floats(2, 400)] * 3))
def test_the_region_holds_the_box_unless_the_card_forbids_so_coarse_a_one(start, size):
    box = Box(start, tuple(np.add(start, size)), space="mm")
    for card in (PUBLIC, SMALL):
        region = region_for(mm(box), card)
        zoom = region.spacing_mm[0] / card.spacing_mm
        assert card.zoom_min - 1e-9 <= zoom <= card.zoom_max + 1e-9
        reach = region.index_of(np.array([box.start, box.stop]))
        if zoom < card.zoom_max * 0.999:
            assert (reach >= -0.5).all() and (reach <= np.array(region.shape) - 0.5).all()
            filled = max(size) / (card.region_voxels * region.spacing_mm[0])
            assert filled <= card.box_fill + 1e-9


def test_a_box_as_large_as_the_public_region_is_seen_at_a_coarser_spacing():
    # 384 mm in 128 voxels that a box may fill to 9 tenths: 384 / (0.9 * 128) = 3.333 mm
    region = region_for(mm(Box((0, 0, 0), (384, 100, 100), space="mm")), PUBLIC)
    assert_allclose(region.spacing_mm, [10 / 3] * 3)


def test_clicks_far_apart_are_held_like_a_box():
    clicks = mm(Point((0, 0, 0), space="mm"), Point((200, 0, 0), space="mm"))
    region = region_for(clicks, SMALL)
    assert covers(region, clicks)
    assert_allclose(region.index_of((100, 0, 0)), (32, 32, 32), atol=1e-9)


def test_negative_points_alone_do_not_say_what_to_segment():
    with pytest.raises(PromptError, match="Add a positive point"):
        region_for(mm(Point((0, 0, 0), positive=False, space="mm")), PUBLIC)


def test_at_the_models_own_spacing_a_region_is_plain_interpolation(generator):
    scan = Volume(
        torch.rand(40, 30, 20, generator=generator), Grid.around((0, 0, 0), (40, 30, 20), (0.7, 0.7, 2))
    )
    region = region_at(np.zeros(3), Preprocessing(region_voxels=16, spacing_mm=1.5, normalisation="mean"), 1)
    assert torch.equal(cut(scan, region, 1.5, 0.0), resample(scan, onto=region).array)


def test_a_coarse_region_averages_what_it_would_step_over(generator):
    noise = torch.randn(64, 64, 64, generator=generator)
    scan = Volume(noise, Grid.around((0, 0, 0), (64, 64, 64), (1.5, 1.5, 1.5)))
    region = Grid.around((0, 0, 0), (12, 12, 12), (6, 6, 6))
    # 4x4x4 voxels averaged, then interpolated: far quieter than one voxel's noise
    assert cut(scan, region, 1.5, 0.0).std() < 0.2 < resample(scan, onto=region).array.std()


@given(st.integers(0, 2**32 - 1), st.tuples(*[st.integers(1, 4)] * 3))
def test_block_means_of_a_ramp_lie_on_the_ramp(seed, blocks):
    rng = np.random.default_rng(seed)
    affine = np.eye(4)
    affine[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.uniform(0.5, 3, size=3)
    affine[:3, 3] = rng.uniform(-50, 50, size=3)
    grid = Grid(affine, tuple(int(n) for n in rng.integers(5, 14, size=3)))
    slope = rng.normal(size=3)

    def ramp(g):
        index = np.stack(np.meshgrid(*map(np.arange, g.shape), indexing="ij"), axis=-1)
        return torch.from_numpy(g.world_of(index) @ slope).float()

    region = Grid.around(grid.world_of(np.array(grid.shape) / 2), (6, 6, 6), (4, 4, 4))
    means = block_mean(Volume(ramp(grid), grid), region, np.array(blocks))
    lows = grid.index_of(
        means.grid.world_of(np.stack(np.meshgrid(*map(np.arange, means.grid.shape), indexing="ij"), -1))
    )
    half = (np.minimum(blocks, grid.shape) - 1) / 2
    whole = ((lows - half > -1e-6) & (lows + half < np.array(grid.shape) - 1 + 1e-6)).all(axis=-1)
    assert_allclose(means.array[whole], ramp(means.grid)[whole], atol=1e-3)


@pytest.mark.parametrize("layout", [(0, 1, 2), (2, 1, 0), (1, 2, 0)], ids=["C", "F", "neither"])
@pytest.mark.parametrize("dtype", [torch.int16, torch.float32])
@pytest.mark.parametrize("blocks", [(2, 2, 2), (3, 1, 5)])
def test_block_means_are_those_of_pooling_the_scan_with_its_border_repeated(layout, dtype, blocks, generator):
    array = (1000 * torch.randn(23, 18, 31, generator=generator)).to(dtype)
    back = [layout.index(axis) for axis in range(3)]
    array = array.permute(layout).contiguous().permute(back)
    grid = Grid.around((0, 0, 0), tuple(array.shape), (1, 1, 1))
    means = block_mean(Volume(array, grid), Grid.around((2, -1, 3), (9, 9, 9), (4, 4, 4)), np.array(blocks))
    # The plain way: repeat the border far out, and pool from the voxel where the first block begins.
    start = grid.index_of(means.grid.world_of((0, 0, 0))) - (np.array(blocks) - 1) / 2
    first = np.rint(start).astype(int) + 12
    wide = F.pad(array.float()[None, None], [12] * 6, mode="replicate")[0]
    i, j, k = (slice(a, a + b * n) for a, b, n in zip(first, blocks, means.grid.shape, strict=True))
    plain = F.avg_pool3d(wide[:, i, j, k], blocks)[0]
    torch.testing.assert_close(means.array, plain, rtol=1e-6, atol=1e-3)  # of values around 1000: float32


@pytest.mark.parametrize("blocks", [(2, 2, 2), (3, 2, 5), (4, 3, 1)])
def test_a_flipped_scan_has_the_same_blocks_whatever_its_size(blocks, generator):
    """The region's centre lies on a voxel's centre, between blocks of even size: the hardest case."""
    grid = Grid(np.diag([1.0, 1.0, 1.0, 1.0]), (17, 18, 23))
    scan = Volume(torch.randint(0, 100, grid.shape, generator=generator), grid)
    region = Grid.around(grid.world_of((9, 7, 11)), (8, 8, 8), (5, 5, 5))
    plain = resample(block_mean(scan, region, np.array(blocks)), onto=region, fill=-1.0)
    for axes in ((0,), (1,), (2,), (0, 1, 2)):
        affine = np.eye(4)
        for axis in axes:
            affine[axis, axis], affine[axis, 3] = -1, grid.shape[axis] - 1
        flipped = Volume(scan.array.flip(axes), Grid(affine, grid.shape))
        again = resample(block_mean(flipped, region, np.array(blocks)), onto=region, fill=-1.0)
        assert torch.equal(again.array, plain.array)


def test_blocks_reach_to_the_end_of_the_scan():
    """79 voxels are no multiple of 5; their last ones were once left out, filled as if beyond the scan."""
    grid = Grid(np.eye(4), (79, 79, 79))
    region = Grid.around((39, 39, 39), (16, 16, 16), (5, 5, 5))
    means = block_mean(Volume(torch.ones(grid.shape), grid), region, np.array([5, 5, 5]))
    assert torch.equal(resample(means, onto=grid, fill=-1.0).array, torch.ones(grid.shape))


def test_a_mask_that_runs_into_the_border_is_seen_only_where_the_scan_goes_on():
    region = Grid.around((0, 0, 0), (8, 8, 8), (1, 1, 1))
    inside = torch.zeros(8, 8, 8, dtype=torch.bool)
    inside[6:, 3:5, 3:5] = True
    wide = Grid.around((0, 0, 0), (20, 20, 20), (1, 1, 1))
    assert touches_border(inside, region, wide)
    assert not touches_border(inside, region, region)  # the scan ends there too
    assert not touches_border(inside.roll(-2, 0), region, wide)


def test_the_deepest_voxel_of_a_ball_is_its_middle():
    i = torch.arange(21)
    ball = ((i[:, None, None] - 8) ** 2 + (i[:, None] - 10) ** 2 + (i - 12) ** 2) <= 36
    found = deepest(ball)
    assert found is not None and (found - torch.tensor([8, 10, 12])).abs().max() <= 1
    assert deepest(torch.zeros(4, 4, 4, dtype=torch.bool)) is None


def test_negative_points_alone_are_looked_at_where_the_first_lies():
    away = Prompt((Point((5, 6, 7), False, "mm"), Point((90, 6, 7), False, "mm")))
    assert home_of(away + Point((0, 0, 0), True, "mm"), SMALL).inside((32, 32, 32))
    assert home_of(away, SMALL).same_as(region_at(np.array([5.0, 6.0, 7.0]), SMALL, SMALL.click_zoom))
    with pytest.raises(PromptError, match="Add a positive point"):
        region_for(away, SMALL)


def test_a_wider_region_has_the_same_centre_until_the_cards_limit():
    region = region_at(np.array([5.0, 6.0, 7.0]), SMALL, 1.5)
    spacings = []
    while region is not None:
        spacings.append(round(region.spacing_mm[0] / SMALL.spacing_mm, 3))
        assert_allclose(region.world_of([32, 32, 32]), [5, 6, 7])
        region = wider(region, SMALL)
    assert spacings == [1.5, 2.4, 3.84, 6.0]


def test_a_mask_keeps_to_its_boxes_and_a_little_beyond():
    box = Box((0, 0, 0), (20, 40, 60), "mm")
    bounds = bounds_of(Prompt((box, Point((22, 20, 20), True, "mm"), Point((90, 0, 0), False, "mm"))))
    assert_allclose(bounds.corners_mm.min(axis=0), [-3, -6, -9])
    assert_allclose(bounds.corners_mm.max(axis=0), [23, 46, 69])
    both = bounds_of(Prompt((box, Box((-80, 0, 0), (-70, 10, 10), "mm"))))
    assert_allclose(both.corners_mm.min(axis=0), [-95, -6, -9])
    assert bounds_of(Prompt((box, Point((24, 20, 20), True, "mm")))) is None  # the target reaches further
    assert bounds_of(Prompt((Point((24, 20, 20), True, "mm"),))) is None
