"""Pictures that fit the windows are accepted, others refused with those that fit; torch is not needed."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sam_moe.hosts.swin_unet.sizes import SwinSizes, fits


def test_the_defaults_are_the_public_models():
    sizes = SwinSizes(classes=(14, 3, 16))
    assert (sizes.image_size, sizes.embed_dim, sizes.window, sizes.mlp_ratio) == (224, 96, 7, 4)
    assert (sizes.depths, sizes.heads, sizes.tokens) == ((2, 2, 2, 2), (3, 6, 12, 24), 56)


@pytest.mark.parametrize(
    ("window", "fitting"), [(7, {224, 448}), (4, {32, 64, 128, 256, 384, 512}), (8, {32, 64, 128, 256, 512})]
)
def test_few_sizes_fit_a_window(window, fitting):
    assert {size for size in range(1, 513) if fits(size, window)} == fitting


def by_stages(size: int, window: int) -> bool:
    """The definition, a stage after the other, as the public network builds them."""
    if size % 4:
        return False
    tokens = size // 4
    for stage in range(4):
        if tokens > window and tokens % window:
            return False
        if stage < 3 and tokens % 2:
            return False
        tokens //= 2
    return tokens >= 0 and size > 0


@given(st.integers(1, 1024), st.integers(1, 16))
def test_a_size_fits_where_each_stage_can_be_cut_and_merged(size, window):
    assert fits(size, window) == (by_stages(size, window) and size >= 32)


@pytest.mark.parametrize(("size", "window"), [(112, 7), (128, 7), (100, 4), (96, 4), (30, 8)])
def test_a_picture_that_does_not_fit_is_refused_with_those_that_do(size, window):
    with pytest.raises(ValidationError, match=rf"image_size {size} does not fit window {window}") as error:
        SwinSizes(image_size=size, window=window, classes=(2,))
    named = str(error.value).partition("With this window fit: ")[2].partition(" [")[0].split(", ")
    assert named == [str(s) for s in range(32, 513, 32) if fits(s, window)]


def test_heads_that_do_not_divide_a_stages_width_are_named():
    with pytest.raises(ValidationError, match="stage 1 has width 12, which 5 heads do not divide"):
        SwinSizes(embed_dim=6, heads=(1, 5, 3, 6), classes=(2,))


def test_sizes_are_read_without_torch():
    code = "import sys, sam_moe.hosts.swin_unet.sizes; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
