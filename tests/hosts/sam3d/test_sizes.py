"""Sizes are read off a checkpoint's shapes, and are one record for network, card and plan."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.sizes import Sizes

ROOT = Path(__file__).resolve().parents[3]
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
def test_blocks_that_attend_over_the_whole_grid_are_read_apart_from_the_others(indexes):
    sizes = replace(SMALL, global_attn_indexes=indexes)
    assert read_back(sizes) == sizes


def test_a_window_as_large_as_the_grid_is_the_whole_grid():
    assert read_back(replace(SMALL, window_size=4)).global_attn_indexes == (0, 1, 2)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"image_size": 33}, "image_size 33 must be a multiple of patch_size 8"),
        ({"embed_dim": 50}, "embed_dim 50 must be a multiple of num_heads 4"),
        ({"out_channels": 49}, "out_channels 49 must be a multiple of decoder_heads 8"),
        ({"global_attn_indexes": (3,)}, r"global_attn_indexes \(3,\) must name blocks from 0 to 2"),
        ({"encoder": "conv", "conv_widths": (24,)}, "patch_size 8 must be 4, as the encoder halves"),
        ({"encoder": "conv", "conv_widths": (0, 24)}, r"conv_widths \(0, 24\) must be greater than 0"),
    ],
)
def test_sizes_that_do_not_go_together_are_named(changes, complaint):
    with pytest.raises(ValueError, match=complaint):
        replace(SMALL, **changes).check()


def test_heads_are_no_matter_of_a_convolutional_encoder():
    conv = replace(SMALL, encoder="conv", conv_widths=(24, 48), num_heads=7)
    assert conv.check() == conv


def test_a_machine_with_neither_torch_nor_pydantic_knows_the_sizes():
    program = (
        "import sys; sys.modules.update(dict.fromkeys(('torch', 'pydantic', 'numpy')));"
        "from sam_moe.hosts.sam3d.sizes import Sizes; print(Sizes().grid)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("8\n", "")
