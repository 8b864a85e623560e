"""Boxes around what is seen, and the grids they cover."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from sam_moe.space.extents import extent, extents, part_of, union, value_counts
from sam_moe.space.grid import Grid
from sam_moe.space.sampling import IndexBox

VOXELS = st.tuples(st.integers(0, 5), st.integers(0, 6), st.integers(0, 4))


@given(st.lists(VOXELS, min_size=1, max_size=5))
def test_a_box_holds_all_that_is_seen_and_touches_it_on_every_side(voxels):
    seen = torch.zeros(6, 7, 5, dtype=torch.bool)
    for voxel in voxels:
        seen[voxel] = True
    box = extent(seen)
    assert box.start == tuple(map(min, zip(*voxels, strict=True)))
    assert box.stop == tuple(1 + most for most in map(max, zip(*voxels, strict=True)))
    assert seen[box.slices].sum() == seen.sum()


def test_of_nothing_there_is_no_box():
    assert extent(torch.zeros(3, 4, 5, dtype=torch.bool)) is None


def test_a_union_is_around_all():
    boxes = [IndexBox((1, 5, 3), (4, 6, 9)), IndexBox((2, 2, 2), (3, 8, 4))]
    assert union(boxes) == IndexBox((1, 2, 2), (4, 8, 9))
    assert union(boxes[:1]) == boxes[0]


def test_a_part_of_a_grid_has_its_voxels_where_they_were():
    grid = Grid(np.array([[0, -2.0, 0, 5], [1.5, 0, 0, -3], [0, 0, 4, 7], [0, 0, 0, 1]]), (10, 11, 12))
    part = part_of(grid, IndexBox((2, 3, 4), (5, 5, 9)))
    assert part.shape == (3, 2, 5)
    np.testing.assert_allclose(part.world_of((1, 1, 1)), grid.world_of((3, 4, 5)))
    wider = part_of(grid, IndexBox((0, 3, 4), (5, 5, 9)), margin=2)
    assert wider.shape == (9, 6, 9)
    np.testing.assert_allclose(wider.world_of((2, 2, 2)), grid.world_of((0, 3, 4)))


@given(st.lists(st.tuples(st.tuples(*[st.integers(0, 4)] * 3), st.integers(0, 255)), max_size=12))
def test_boxes_and_counts_of_values_are_those_of_each_value_by_itself(painted):
    labels = torch.zeros(5, 5, 5, dtype=torch.uint8).permute(2, 1, 0)
    for voxel, value in painted:
        labels[voxel] = value
    counts, found = value_counts(labels), extents(labels)
    assert counts.tolist() == [int((labels == value).sum()) for value in range(256)]
    assert found == {value: extent(labels == value) for value in range(1, 256) if counts[value]}
