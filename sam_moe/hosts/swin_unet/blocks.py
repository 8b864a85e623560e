"""A Swin block: attention within windows, then a feed-forward part that the network is given."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from sam_moe.hosts.swin_unet.attention import ShiftedWindowAttention, Windows
from sam_moe.shapes import Float

# The feed-forward part of a block, by the block's place ("layers.0.blocks.1"), its width and hidden width.
# It is called with tokens [b, n, c] and whatever the network was asked with.
FeedForwardMaker = Callable[[str, int, int], nn.Module]


class SwinBlock(nn.Module):
    """Attention within windows, then a feed-forward part, each normalised before and added (pre-norm).

    Without the public network's stochastic depth: nothing here is random in training.
    """

    def __init__(self, width: int, heads: int, windows: Windows, mlp: nn.Module, eps: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.attn = ShiftedWindowAttention(width, heads, windows)
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = mlp

    def forward(self, x: Float[Tensor, "b n c"], asked: Any = None) -> Float[Tensor, "b n c"]:
        """Tokens to tokens; `asked` goes to the feed-forward part as it is."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x), asked)  # type: ignore[no-any-return]  # nn.Module calls are untyped
