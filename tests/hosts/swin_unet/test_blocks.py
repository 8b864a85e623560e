"""What a block does."""

import torch
from torch import nn

from sam_moe.hosts.swin_unet.attention import Windows
from sam_moe.hosts.swin_unet.blocks import SwinBlock


class Recording(nn.Module):
    """Answers with zeros and keeps what it was called with."""

    def forward(self, tokens, asked):
        self.seen = tokens, asked
        return torch.zeros_like(tokens)


@torch.no_grad()
def test_a_block_normalises_adds_and_hands_on_what_it_was_asked_with():
    block = SwinBlock(4, 2, Windows(4, 2, 1), mlp := Recording(), 1e-5)
    x, asked = torch.randn(2, 16, 4), object()
    answer = block(x, asked)
    torch.testing.assert_close(answer, x + block.attn(block.norm1(x)))
    assert mlp.seen[1] is asked
    torch.testing.assert_close(mlp.seen[0], block.norm2(answer))
