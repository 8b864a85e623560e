"""What the stages of the network are like, and what a block does."""

from collections.abc import Sequence

import pytest
import torch
from torch import nn

from sam_moe.hosts.swin_unet.attention import Windows
from sam_moe.hosts.swin_unet.blocks import SwinBlock, decoder_stage, encoder_stage, make_blocks
from sam_moe.hosts.swin_unet.sizes import SwinSizes

SIZES = SwinSizes(
    image_size=64, embed_dim=6, depths=(2, 1, 3, 2), heads=(1, 2, 3, 6), window=4, mlp_ratio=2, classes=(2,)
)


def windows(depth: int, tokens: int, window: int) -> Sequence[Windows]:
    stage = encoder_stage(SIZES, 0)._replace(depth=depth, tokens=tokens)
    return list(stage.windows(window))


def test_every_second_block_is_shifted_by_half_a_window():
    assert windows(3, 16, 4) == [Windows(16, 4, 0), Windows(16, 4, 2), Windows(16, 4, 0)]
    assert windows(2, 14, 7) == [Windows(14, 7, 0), Windows(14, 7, 3)]


@pytest.mark.parametrize("tokens", [4, 2, 1])
def test_where_one_window_holds_all_tokens_it_is_as_small_and_unshifted(tokens):
    assert windows(2, tokens, 4) == [Windows(tokens, tokens, 0)] * 2


def test_the_decoder_mirrors_the_encoder():
    for step in (1, 2, 3):
        down, up = encoder_stage(SIZES, 3 - step), decoder_stage(SIZES, step)
        assert down._replace(name="") == up._replace(name="")
        assert (down.name, up.name) == (f"layers.{3 - step}", f"layers_up.{step}")
    coarsest = encoder_stage(SIZES, 3)
    assert (coarsest.width, coarsest.hidden, coarsest.heads, coarsest.tokens) == (48, 96, 6, 2)


def test_each_block_has_a_feed_forward_part_of_its_own_name():
    made = []

    def make(name, width, hidden):
        made.append((name, width, hidden))
        return nn.Identity()

    blocks = make_blocks(encoder_stage(SIZES, 2), 4, make)
    assert made == [(f"layers.2.blocks.{index}", 24, 48) for index in range(3)]
    assert len(blocks) == 3


class Recording(nn.Module):
    """Answers with zeros and keeps what it was called with."""

    def forward(self, tokens, asked):
        self.seen = tokens, asked
        return torch.zeros_like(tokens)


@torch.no_grad()
def test_a_block_normalises_adds_and_hands_on_what_it_was_asked_with():
    block = SwinBlock(4, 2, Windows(4, 2, 1), mlp := Recording())
    x, asked = torch.randn(2, 16, 4), object()
    answer = block(x, asked)
    torch.testing.assert_close(answer, x + block.attn(block.norm1(x)))
    assert mlp.seen[1] is asked
    torch.testing.assert_close(mlp.seen[0], block.norm2(answer))
