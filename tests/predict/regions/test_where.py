"""Which region a prompt asks for, and what is cut there."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from sam_moe.errors import PromptError
from sam_moe.predict.regions.where import (
    bounds_of,
    covers,
    home_of,
    region_at,
    region_for,
    touches_border,
    wider,
)
from sam_moe.prompts import Box, Point, Prompt
from sam_moe.registry import Preprocessing
from sam_moe.space.grid import Grid

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


def test_a_mask_that_runs_into_the_border_is_seen_only_where_the_scan_goes_on():
    region = Grid.around((0, 0, 0), (8, 8, 8), (1, 1, 1))
    inside = torch.zeros(8, 8, 8, dtype=torch.bool)
    inside[6:, 3:5, 3:5] = True
    wide = Grid.around((0, 0, 0), (20, 20, 20), (1, 1, 1))
    assert touches_border(inside, region, wide)
    assert not touches_border(inside, region, region)  # the scan ends there too
    assert not touches_border(inside.roll(-2, 0), region, wide)


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
