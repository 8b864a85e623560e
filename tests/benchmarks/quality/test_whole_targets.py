"""How large a target is, by its voxels."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.quality.whole_targets import _extent
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume

edges = st.tuples(*[st.integers(1, 6)] * 3)


@given(edges, edges)
def test_the_extent_of_a_box_is_its_edges_wherever_it_lies(start, size):
    mask = torch.zeros(12, 12, 12, dtype=torch.bool)
    mask[tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))] = True
    assert _extent(Volume(mask, Grid.around((0, 0, 0), (12, 12, 12), (1, 1, 1)))) == list(size)


def test_two_voxels_far_apart_are_as_long_as_what_is_between():
    mask = torch.zeros(10, 4, 4, dtype=torch.bool)
    mask[1, 0, 0] = mask[8, 0, 0] = True
    assert _extent(Volume(mask, Grid.around((0, 0, 0), (10, 4, 4), (1, 1, 1)))) == [8, 1, 1]
