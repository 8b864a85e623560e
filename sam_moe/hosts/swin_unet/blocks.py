"""A Swin block, and the blocks of a stage."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from torch import Tensor, nn

from sam_moe.hosts.swin_unet.attention import ShiftedWindowAttention, Windows
from sam_moe.hosts.swin_unet.sizes import STAGES, SwinSizes
from sam_moe.shapes import Float

# The feed-forward part of a block, by the block's place ("layers.0.blocks.1"), its width and hidden width.
# It is called with tokens [b, n, c] and whatever the network was asked with.
FeedForwardMaker = Callable[[str, int, int], nn.Module]

EPS = 1e-5


class Stage(NamedTuple):
    """What the blocks of one stage have in common."""

    name: str
    depth: int
    width: int
    hidden: int
    heads: int
    tokens: int

    def windows(self, window: int) -> Iterator[Windows]:
        """The windows of each block: every second one shifted by half a window, unless one holds all tokens.

        Where a stage has fewer tokens a side than the window, its window is that small.
        """
        edge = min(window, self.tokens)
        for index in range(self.depth):
            yield Windows(self.tokens, edge, edge // 2 if index % 2 and self.tokens > edge else 0)


def encoder_stage(sizes: SwinSizes, level: int) -> Stage:
    """The stage of the encoder at a level, 0 the finest."""
    return _stage(sizes, level, f"layers.{level}")


def decoder_stage(sizes: SwinSizes, step: int) -> Stage:
    """The stage of the decoder after a number of expansions; it mirrors the encoder's of its level."""
    return _stage(sizes, STAGES - 1 - step, f"layers_up.{step}")


def _stage(sizes: SwinSizes, level: int, name: str) -> Stage:
    width = sizes.embed_dim * 2**level
    tokens = sizes.tokens // 2**level
    return Stage(name, sizes.depths[level], width, sizes.mlp_ratio * width, sizes.heads[level], tokens)


class SwinBlock(nn.Module):
    """Attention within windows, then a feed-forward part, each normalised before and added (pre-norm).

    Without the public network's stochastic depth: nothing here is random in training.
    """

    def __init__(self, width: int, heads: int, windows: Windows, mlp: nn.Module, eps: float = EPS) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.attn = ShiftedWindowAttention(width, heads, windows)
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = mlp

    def forward(self, x: Float[Tensor, "b n c"], asked: Any = None) -> Float[Tensor, "b n c"]:
        """Tokens to tokens; `asked` goes to the feed-forward part as it is."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x), asked)  # type: ignore[no-any-return]


def make_blocks(stage: Stage, window: int, feed_forward: FeedForwardMaker) -> nn.ModuleList:
    """The blocks of a stage of the U-Net, from the first to the last."""
    return nn.ModuleList(
        SwinBlock(
            stage.width,
            stage.heads,
            windows,
            feed_forward(f"{stage.name}.blocks.{index}", stage.width, stage.hidden),
        )
        for index, windows in enumerate(stage.windows(window))
    )
