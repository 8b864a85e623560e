"""The blocks of one resolution, with the merging or the expansion that leads to the next."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from torch import Tensor, nn

from sam_moe.hosts.swin_unet.attention import Windows
from sam_moe.hosts.swin_unet.blocks import FeedForwardMaker, SwinBlock
from sam_moe.hosts.swin_unet.resizing import PatchExpand, PatchMerging
from sam_moe.hosts.swin_unet.sizes import STAGES, SwinSizes
from sam_moe.shapes import Float


class StageSizes(NamedTuple):
    """What the blocks of one stage have in common; `tokens` are those along a side."""

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

    def always_shifted(self, window: int) -> Iterator[Windows]:
        """The windows of each block as Swin-MAE has them: every second one is shifted, whatever it holds."""
        for index in range(self.depth):
            yield Windows(self.tokens, window, window // 2 if index % 2 else 0)


class Manner(NamedTuple):
    """What sets the U-Net and Swin-MAE apart: eps of all norms, windows, the first decoder stage's number."""

    eps: float
    windows: Callable[[StageSizes, int], Iterator[Windows]]
    first: int


def encoder_stage(sizes: SwinSizes, level: int) -> StageSizes:
    """The stage of the encoder at a level, 0 the finest."""
    width = sizes.embed_dim * 2**level
    tokens = sizes.tokens // 2**level
    name, hidden = f"layers.{level}", sizes.mlp_ratio * width
    return StageSizes(name, sizes.depths[level], width, hidden, sizes.heads[level], tokens)


def decoder_stage(sizes: SwinSizes, step: int, first: int = 1) -> StageSizes:
    """The stage of the decoder after a number of expansions; it mirrors the encoder's of its level."""
    mirrored = encoder_stage(sizes, STAGES - 1 - step)
    return mirrored._replace(name=f"layers_up.{step - 1 + first}")


def encoder_stages(
    sizes: SwinSizes, feed_forward: FeedForwardMaker, manner: Manner
) -> Iterator["EncoderStage"]:
    """The stages of the encoder, from the finest to the coarsest, which merges nothing."""
    for level in range(STAGES):
        stage = encoder_stage(sizes, level)
        blocks = _blocks(stage, sizes.window, feed_forward, manner)
        merging = PatchMerging(stage.width, stage.tokens, manner.eps) if level < STAGES - 1 else None
        yield EncoderStage(blocks, merging)


def decoder_stages(
    sizes: SwinSizes, feed_forward: FeedForwardMaker, manner: Manner
) -> Iterator["DecoderStage"]:
    """The stages of the decoder after the first expansion, to the finest, which expands nothing."""
    for step in range(1, STAGES):
        stage = decoder_stage(sizes, step, manner.first)
        blocks = _blocks(stage, sizes.window, feed_forward, manner)
        expansion = PatchExpand(stage.width, stage.tokens, 2, manner.eps) if step < STAGES - 1 else None
        yield DecoderStage(blocks, expansion)


def _blocks(stage: StageSizes, window: int, feed_forward: FeedForwardMaker, manner: Manner) -> nn.ModuleList:
    return nn.ModuleList(
        SwinBlock(
            stage.width,
            stage.heads,
            windows,
            feed_forward(f"{stage.name}.blocks.{index}", stage.width, stage.hidden),
            manner.eps,
        )
        for index, windows in enumerate(manner.windows(stage, window))
    )


class EncoderStage(nn.Module):
    """Blocks, then, but for the coarsest stage, a merging: half the tokens a side, twice as wide."""

    def __init__(self, blocks: nn.ModuleList, downsample: PatchMerging | None) -> None:
        super().__init__()
        self.blocks = blocks
        self.downsample = downsample

    def forward(self, x: Float[Tensor, "b n c"], asked: Any = None) -> Float[Tensor, "b m d"]:
        """Tokens for the next stage."""
        for block in self.blocks:
            x = block(x, asked)
        return x if self.downsample is None else self.downsample(x)


class DecoderStage(nn.Module):
    """Blocks, then, but for the finest stage, an expansion: twice the tokens a side, half as wide."""

    def __init__(self, blocks: nn.ModuleList, upsample: PatchExpand | None) -> None:
        super().__init__()
        self.blocks = blocks
        self.upsample = upsample

    def forward(self, x: Float[Tensor, "b n c"], asked: Any = None) -> Float[Tensor, "b m d"]:
        """Tokens for the next stage."""
        for block in self.blocks:
            x = block(x, asked)
        return x if self.upsample is None else self.upsample(x)
