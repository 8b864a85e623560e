"""Sizes are read off a checkpoint's shapes."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.sizes import Sizes

SMALL = Sizes(32, 8, 48, 3, 4, 3, (1,), 48, 64, 8, 2, 16)


def read_back(sizes):
    with torch.device("meta"):
        return Sizes.from_state_dict(SamMed3D(sizes).state_dict())


def test_the_defaults_are_the_public_models():
    assert read_back(Sizes()) == Sizes()
    assert (Sizes().grid, Sizes().low_res) == (8, 32)


@given(
    st.builds(
        lambda grid, patch, heads, depth, out, mlp, iou, corners, window: Sizes(
            grid * patch, patch, heads * 6, depth, heads, window + grid, (), out * 48, mlp, 8, 2, iou, corners
        ),
        *[
            st.integers(1, 4),
            st.sampled_from([4, 8]),
            st.integers(1, 3),
            st.integers(1, 3),
            st.integers(1, 2),
        ],
        *[st.integers(1, 9), st.integers(1, 9), st.booleans(), st.integers(1, 6)],
    )
)
def test_what_was_built_is_read_back(sizes):
    assert read_back(sizes) == sizes


@pytest.mark.parametrize("indexes", [(), (0,), (0, 2), (1,)])
def test_blocks_that_attend_over_the_whole_grid_are_distinguished_from_the_others(indexes):
    sizes = replace(SMALL, global_attn_indexes=indexes)
    assert read_back(sizes) == sizes


def test_a_window_as_large_as_the_grid_is_the_whole_grid():
    assert read_back(replace(SMALL, window_size=4)).global_attn_indexes == (0, 1, 2)
