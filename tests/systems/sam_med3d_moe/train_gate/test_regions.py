"""Regions for a gate: each of its owner, none of what is left out, and places without a label."""

import numpy as np
import pytest
import torch

from sam_moe.predict.regions.where import region_for
from sam_moe.prompts import Box, Prompt
from sam_moe.registry import Preprocessing
from sam_moe.space.grid import Grid
from sam_moe.systems.sam_med3d_moe.train_gate.regions import (
    UNLABELLED,
    Stream,
    asked_ranges,
    blank_place,
    draw_regions,
    merge,
    without,
)

PREPROCESSING = Preprocessing(region_voxels=16, spacing_mm=3.0, normalisation="mean")


def drawn(scans, own, leave_out=(), **stream):
    return list(draw_regions(scans, own, frozenset(leave_out), PREPROCESSING, Stream(6, 0, **stream)))


def test_every_region_has_its_owner_and_the_general_one_owns_the_rest(scans):
    found = drawn(scans, [{"a box": ["balls/box"]}], unlabelled_share=0.25)
    counts = {}
    for one in found:
        counts[one.owner, one.structure] = counts.get((one.owner, one.structure), 0) + 1
        assert one.image.shape == one.target.shape == (1, 16, 16, 16)
        assert one.target.any()
    assert counts.pop((1, "a box")) == 6
    assert counts.pop((0, UNLABELLED)) == 3
    assert sum(counts.values()) == 9
    assert {(0, "ball")} < set(counts) <= {(0, "ball"), (0, "label 1"), (0, "label 2")}


def test_what_is_left_out_is_no_experts(scans):
    found = drawn(scans, [{"a box": ["box"]}], ["ball", "label 1", "maps/label 2"], unlabelled_share=0.0)
    assert {one.structure for one in found} == {"a box"}


def test_the_same_stream_gives_the_same_regions_and_another_seed_others(scans):
    first, again = (drawn(scans, [{"a box": ["box"]}], spoil_share=0.5) for _ in range(2))
    assert all(torch.equal(a.image, b.image) for a, b in zip(first, again, strict=True))
    other = list(
        draw_regions(scans, [{"a box": ["box"]}], frozenset(), PREPROCESSING, Stream(6, 1, spoil_share=0.5))
    )
    assert not torch.equal(first[0].image, other[0].image)


def test_a_union_is_one_structure_and_nothing_else_is_left(scans):
    one = merge(scans[0], {"both": ["ball", "balls/box"]})
    assert list(one.structures.values()) == ["both"]
    (value,) = one.structures
    assert int((one.labels == value).sum()) == int((scans[0].labels > 0).sum())
    assert merge(scans[0], {"x": ["maps/ball"]}).structures == {}
    assert without(scans[0], {"balls/ball"}).structures == {2: "box"}


def test_a_blank_place_touches_no_label(scans, generator):
    found = [place for _ in range(300) if (place := blank_place(scans[0], generator)) is not None]
    assert found
    for place in found:
        assert place.structures == {1: UNLABELLED}
        assert (place.labels == 1).sum() >= 30
        assert not (scans[0].labels[place.labels == 1] != 0).any()


@pytest.mark.parametrize("way", ["click", "box"])
def test_regions_are_cut_as_prediction_first_looks_at_clicks_and_boxes(way, scans):
    """The middle voxel is where the click was; a box lies in the middle and fills its part of the edge."""
    for one in drawn(scans[:1], [{"a ball": ["ball"]}], varied=False):
        if one.owner == 1 and one.way == way:
            target, prompt = one.target[0], None
            if way == "click":
                assert target[8, 8, 8]
                continue
            inside = target.nonzero()
            low, high = inside.amin(0).tolist(), (inside.amax(0) + 1).tolist()
            prompt = Prompt((Box(tuple(map(float, low)), tuple(map(float, high))),))
            region = Grid.around((0, 0, 0), (16,) * 3, (1.0,) * 3)
            asked = region_for(
                prompt.in_mm(region.affine), PREPROCESSING.model_copy(update={"spacing_mm": 1.0})
            )
            assert asked.spacing_mm[0] == pytest.approx(1.0, abs=0.15)  # a voxel of 10 more or less
            assert np.abs(region.index_of(asked.world_of((8, 8, 8))) - 8).max() < 1.5


def test_both_ways_are_drawn_alike_and_varied_regions_only_in_training(scans):
    found = drawn(scans, [{"a box": ["box"]}], unlabelled_share=0.25)
    for owner, unlabelled in ((0, False), (0, True), (1, False)):
        ways = [d.way for d in found if d.owner == owner and (d.structure == UNLABELLED) == unlabelled]
        assert abs(ways.count("click") - ways.count("box")) <= 1
    ranges = asked_ranges(
        PREPROCESSING.model_copy(update={"click_zoom": 2.0, "spacing_mm": 1.5}), "click", False
    )
    assert ranges.click_spacing_mm == (3.0, 3.0)
    assert ranges.rotated_share == 0 and not any(ranges.mirrored_share)
    assert asked_ranges(PREPROCESSING, "box", True).box_fill == pytest.approx((0.765, 1.0))
