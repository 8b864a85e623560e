"""Sizes are read back off shapes; what no shape shows is taken from the option, or the public geometry."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sam_moe.errors import WeightsError
from sam_moe.hosts.swin_unet.masked import MaskedSwin
from sam_moe.hosts.swin_unet.sizes import SwinSizes, fits
from sam_moe.systems.m4oe.convert.shapes import count_experts, read_swin_sizes
from tests.systems.m4oe.convert.checkpoints import MAE, TINY, Mlp, m4oe, network, swin_mae


def without_masks(state):
    return {name: tensor for name, tensor in state.items() if not name.endswith("attn_mask")}


@settings(max_examples=25)
@given(
    st.sampled_from([(s, w) for s in (32, 64, 96, 128) for w in (2, 4, 8) if fits(s, w)]),
    st.tuples(*[st.integers(1, 2)] * 4),
    st.sampled_from([(1, 1, 1, 1), (1, 2, 4, 8), (3, 3, 3, 3)]),
    st.lists(st.integers(1, 5), min_size=1, max_size=3),
    st.integers(1, 3),
)
def test_sizes_are_read_back(geometry, depths, heads, classes, experts):
    image_size, window = geometry
    sizes = SwinSizes(
        image_size=image_size,
        window=min(window, image_size // 4),
        embed_dim=6 if heads[0] == 3 else 8,
        depths=depths,
        heads=heads,
        mlp_ratio=experts,
        classes=classes,
    )
    with torch.device("meta"):
        state = network(sizes, experts).state_dict()
    assert read_swin_sizes(state, "m4oe", "x", image_size) == sizes
    assert count_experts(state) == experts


@pytest.mark.parametrize(
    ("image_size", "window", "shows"),
    [
        (64, 4, "windows that shrink"),
        (32, 4, "windows that shrink"),
        (128, 4, "the last stage is one window"),
    ],
)
def test_the_size_of_pictures_is_in_windows_that_shrink(image_size, window, shows):
    sizes = TINY.model_copy(update={"image_size": image_size, "window": window})
    with torch.device("meta"):
        state = network(sizes).state_dict()
    assert read_swin_sizes(state, "m4oe", "x").image_size == image_size, shows


def test_or_in_stored_masks_or_given():
    wide = SwinSizes(
        image_size=128, embed_dim=4, depths=(2, 1, 1, 1), heads=(1, 1, 1, 1), window=2, classes=(2,)
    )
    state = m4oe(wide)
    assert read_swin_sizes(state, "m4oe", "x").image_size == 128
    assert read_swin_sizes(without_masks(state), "m4oe", "x").image_size == 64  # 2 tokens in the last stage
    assert read_swin_sizes(without_masks(state), "m4oe", "x", 128).image_size == 128


def test_swin_maes_heads_are_given_and_its_sizes_read():
    assert read_swin_sizes(swin_mae(), "swin-mae", "x", heads=(4, 3)) == MAE
    with torch.device("meta"):
        state = MaskedSwin(SwinSizes(classes=(1,)), lambda _, w, h: Mlp(w, h)).state_dict()
    assert read_swin_sizes(state, "swin-mae", "x", heads=(14, 3, 16)) == SwinSizes(classes=(14, 3, 16))


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda s: s.pop("patch_embed.proj.weight"), "patch_embed.proj.weight is missing"),
        (lambda s: s.pop("layers.2.blocks.0.attn.relative_position_bias_table"), "table is missing"),
        (
            lambda s: s.update({"layers.1.blocks.0.attn.relative_position_bias_table": torch.zeros(8, 2)}),
            r"expected \(2w - 1\)\^2 rows",
        ),
        (lambda s: s.update({"patch_embed.proj.weight": torch.zeros(())}), "embed_dim"),
        (lambda s: [s.pop(f"outputs.{head}.weight") for head in (0, 1)], "classes"),
    ],
)
def test_what_shows_no_sizes_is_named(spoil, complaint):
    state = m4oe()
    spoil(state)
    with pytest.raises(WeightsError, match=complaint):
        read_swin_sizes(state, "m4oe", "x")


def test_a_size_that_no_window_fits_is_refused():
    with pytest.raises(WeightsError, match="image_size 100 does not fit window 4"):
        read_swin_sizes(m4oe(), "m4oe", "x", 100)
