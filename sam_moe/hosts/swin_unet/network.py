"""The Swin U-Net of M4oE's public code, with whatever feed-forward parts it is given."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sam_moe.errors import GeometryError
from sam_moe.hosts.swin_unet.blocks import FeedForwardMaker
from sam_moe.hosts.swin_unet.resizing import PatchEmbedding, PatchExpand
from sam_moe.hosts.swin_unet.sizes import PATCH, STAGES, SwinSizes
from sam_moe.hosts.swin_unet.stages import (
    Manner,
    StageSizes,
    decoder_stage,
    decoder_stages,
    encoder_stage,
    encoder_stages,
)
from sam_moe.shapes import Float, Int

_EPS = 1e-5
_MANNER = Manner(_EPS, StageSizes.windows, first=1)


class SwinUNet(nn.Module):
    """Four stages of Swin blocks down, four up, with skip connections and a head for each data set.

    M4oE (Jiang and Shen, arXiv 2405.09446) in the form of its public code, after Swin-Unet (Cao et al., arXiv
    2105.05537). The state dict has the public names, less the prefix `swin_unet.`; masks and indices of
    positions are computed, not stored. Stochastic depth is left out. Pinned by
    tests/hosts/swin_unet/test_reference.py against vectors of the public network.

    Args:
        sizes: how large it is.
        feed_forward: makes the feed-forward part of each block, called in the order of the blocks, the
            encoder's first; what it makes is called with tokens `[b, n, c]` and `asked`.
    """

    def __init__(self, sizes: SwinSizes, feed_forward: FeedForwardMaker) -> None:
        super().__init__()
        self.sizes = sizes
        width = sizes.embed_dim
        self.patch_embed = PatchEmbedding(sizes.in_channels, width, PATCH, _EPS)
        self.layers = nn.ModuleList(encoder_stages(sizes, feed_forward, _MANNER))
        coarsest = encoder_stage(sizes, STAGES - 1)
        self.norm = nn.LayerNorm(coarsest.width, eps=_EPS)
        self.layers_up = nn.ModuleList([PatchExpand(coarsest.width, coarsest.tokens, 2, _EPS)])
        self.concat_back_dim = nn.ModuleList([nn.Identity()])
        for step, stage in enumerate(decoder_stages(sizes, feed_forward, _MANNER), start=1):
            self.layers_up.append(stage)
            deep = decoder_stage(sizes, step).width
            self.concat_back_dim.append(nn.Linear(2 * deep, deep))
        self.norm_up = nn.LayerNorm(width)
        self.up = PatchExpand(width, sizes.tokens, PATCH, _EPS)
        self.outputs = nn.ModuleList(nn.Conv2d(width, classes, 1, bias=False) for classes in sizes.classes)

    def forward(
        self, images: Float[Tensor, "b k h w"], heads: Int[Tensor, " b"], asked: Any = None
    ) -> Float[Tensor, "b classes h w"]:
        """Logits of each row by its own head; shorter heads are padded with zeros to the batch's longest.

        A padded zero can exceed a real logit: cut a row's classes out before an argmax.

        Raises:
            GeometryError: for pictures of another size than the network's.
        """
        used: list[int] = heads.unique().tolist()
        longest = max((self.sizes.classes[head] for head in used), default=self.sizes.classes[0])
        weights = torch.stack([self._weight(head, longest) for head in range(len(self.outputs))])
        squares = self._squares(images, asked)
        logits = squares.flatten(1, 2) @ weights[heads].transpose(1, 2)
        return self._picture(logits.unflatten(1, squares.shape[1:3]))

    def features(self, images: Float[Tensor, "b k h w"], asked: Any = None) -> Float[Tensor, "b f h w"]:
        """What the heads see: `embed_dim` channels at each pixel, after the last expansion.

        Raises:
            GeometryError: for pictures of another size than the network's.
        """
        return self._picture(self._squares(images, asked))

    def _squares(self, images: Float[Tensor, "b k h w"], asked: Any) -> Float[Tensor, "b n pixels c"]:
        """The features of each token's 4 × 4 pixels: heads work on them before they are put in place."""
        edge = self.sizes.image_size
        if images.shape[-2:] != (edge, edge):
            raise GeometryError(
                f"pictures of {images.shape[-2]} x {images.shape[-1]} pixels, expected {edge} x {edge}: the "
                "windows of this network fit no other. Pad or cut them."
            )
        if images.shape[1] == 1:  # as the public network does
            images = images.expand(-1, self.sizes.in_channels, -1, -1)
        x = self.patch_embed(images)
        skipped = []
        for layer in self.layers:
            skipped.append(x)
            x = layer(x, asked)
        x = self.layers_up[0](self.norm(x))
        # The deepest stage's own input is no skip connection: the first expansion already has its size.
        for layer, back, skip in zip(
            self.layers_up[1:], self.concat_back_dim[1:], reversed(skipped[:-1]), strict=True
        ):
            x = layer(back(torch.cat([x, skip], dim=-1)), asked)
        return self.up.squares(self.norm_up(x))

    def _weight(self, head: int, rows: int) -> Float[Tensor, "rows c"]:
        """A head's weights, cut or padded with zeros to so many rows: one product serves a batch."""
        convolution = self.outputs[head]
        assert isinstance(convolution, nn.Conv2d)
        return functional.pad(convolution.weight.flatten(1), (0, 0, 0, rows - convolution.out_channels))

    def _picture(self, squares: Float[Tensor, "b n pixels c"]) -> Float[Tensor, "b c h w"]:
        batch, _, _, channels = squares.shape
        tokens, edge = self.sizes.tokens, self.sizes.image_size
        grid = squares.view(batch, tokens, tokens, PATCH, PATCH, channels)
        return grid.permute(0, 5, 1, 3, 2, 4).reshape(batch, channels, edge, edge)
