"""What the stages of the network are like."""

from collections.abc import Sequence

import pytest
import torch
from torch import nn

from sam_moe.hosts.swin_unet.attention import Windows
from sam_moe.hosts.swin_unet.sizes import SwinSizes
from sam_moe.hosts.swin_unet.stages import (
    Manner,
    StageSizes,
    decoder_stage,
    decoder_stages,
    encoder_stage,
    encoder_stages,
)

SIZES = SwinSizes(
    image_size=64, embed_dim=6, depths=(2, 1, 3, 2), heads=(1, 2, 3, 6), window=4, mlp_ratio=2, classes=(2,)
)
UNET = Manner(1e-5, StageSizes.windows, first=1)


def windows(depth: int, tokens: int, window: int) -> Sequence[Windows]:
    stage = encoder_stage(SIZES, 0)._replace(depth=depth, tokens=tokens)
    return list(stage.windows(window))


def test_every_second_block_is_shifted_by_half_a_window():
    assert windows(3, 16, 4) == [Windows(16, 4, 0), Windows(16, 4, 2), Windows(16, 4, 0)]
    assert windows(2, 14, 7) == [Windows(14, 7, 0), Windows(14, 7, 3)]


@pytest.mark.parametrize("tokens", [4, 2, 1])
def test_where_one_window_holds_all_tokens_it_is_as_small_and_unshifted(tokens):
    assert windows(2, tokens, 4) == [Windows(tokens, tokens, 0)] * 2


def test_swin_mae_shifts_every_second_block_whatever_a_window_holds():
    stage = encoder_stage(SIZES, 0)._replace(depth=3, tokens=4)
    assert list(stage.always_shifted(4)) == [Windows(4, 4, 0), Windows(4, 4, 2), Windows(4, 4, 0)]


def test_the_decoder_mirrors_the_encoder():
    for step in (1, 2, 3):
        down, up = encoder_stage(SIZES, 3 - step), decoder_stage(SIZES, step)
        assert down._replace(name="") == up._replace(name="")
        assert (down.name, up.name) == (f"layers.{3 - step}", f"layers_up.{step}")
    coarsest = encoder_stage(SIZES, 3)
    assert (coarsest.width, coarsest.hidden, coarsest.heads, coarsest.tokens) == (48, 96, 6, 2)


def made(stages, manner):
    """The places of the blocks that `stages` makes, with widths, and the stages."""
    seen = []

    def make(name, width, hidden):
        seen.append((name, width, hidden))
        return nn.Identity()

    return seen, list(stages(SIZES, make, manner))


def test_each_block_has_a_feed_forward_part_of_its_own_name():
    seen, stages = made(encoder_stages, UNET)
    assert [len(stage.blocks) for stage in stages] == [2, 1, 3, 2]
    assert seen[3:6] == [(f"layers.2.blocks.{index}", 24, 48) for index in range(3)]
    assert [stage.downsample is None for stage in stages] == [False, False, False, True]


@pytest.mark.parametrize("first", [0, 1])
def test_the_decoders_stages_are_counted_from_where_the_state_dict_does(first):
    seen, stages = made(decoder_stages, UNET._replace(first=first))
    assert [len(stage.blocks) for stage in stages] == [3, 1, 2]
    assert [name for name, *_ in seen[:4]] == [
        *(f"layers_up.{first}.blocks.{index}" for index in range(3)),
        f"layers_up.{first + 1}.blocks.0",
    ]
    assert [stage.upsample is None for stage in stages] == [False, False, True]


@torch.no_grad()
def test_a_stage_runs_its_blocks_in_order_and_then_resizes():
    torch.manual_seed(0)
    stage = next(decoder_stages(SIZES, lambda *_: Twice(), UNET))
    x = torch.randn(2, 16, 24)
    expected = x
    for block in stage.blocks:
        expected = block(expected, 3.0)
    assert torch.equal(stage(x, 3.0), stage.upsample(expected))


class Twice(nn.Module):
    def forward(self, tokens, asked):
        return asked * tokens
