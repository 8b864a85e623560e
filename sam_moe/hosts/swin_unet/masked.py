"""Swin-MAE: a Swin U-Net without skip connections that fills in what was masked of a picture."""

from typing import Any

import torch
from torch import Tensor, nn

from sam_moe.errors import ConfigError
from sam_moe.hosts.swin_unet.blocks import FeedForwardMaker
from sam_moe.hosts.swin_unet.resizing import PatchEmbedding, PatchExpand
from sam_moe.hosts.swin_unet.sizes import PATCH, STAGES, SwinSizes
from sam_moe.hosts.swin_unet.stages import (
    Manner,
    StageSizes,
    decoder_stages,
    encoder_stage,
    encoder_stages,
)
from sam_moe.shapes import Bool, Float

SQUARE = 4  # patches along a side of what is masked together
RATIO = 0.75
_EPS = 1e-6
_STD = 0.02
_MANNER = Manner(_EPS, StageSizes.always_shifted, first=0)


class MaskedSwin(nn.Module):
    """Predicts the pixels of every patch from a picture whose masked patches became one learnt token.

    Swin-MAE (Xu et al., arXiv 2212.13805), in the form and under the names of its public code. Against
    `SwinUNet` of the same sizes: norms have eps 1e-6, blocks are shifted where one window holds a stage, too,
    nothing is normalised after the coarsest stage, no connection skips it. The position embedding of the
    public state dict is used nowhere there, and left out. Pinned by
    tests/hosts/swin_unet/test_masked_reference.py.

    Args:
        sizes: how large it is; `classes` do not matter.
        feed_forward: makes the feed-forward part of each block, as for `SwinUNet`; here `layers_up.0` is the
            coarsest stage of the decoder.

    Raises:
        ConfigError: where a stage is smaller than a window: Swin-MAE, unlike M4oE, does not shrink windows.
    """

    def __init__(self, sizes: SwinSizes, feed_forward: FeedForwardMaker) -> None:
        super().__init__()
        self.sizes = sizes
        width, window = sizes.embed_dim, sizes.window
        last, least = sizes.tokens // 2 ** (STAGES - 1), PATCH * 2 ** (STAGES - 1) * window
        if last % window:
            raise ConfigError(
                f"image_size {sizes.image_size} leaves {last} tokens a side in the last stage, which windows "
                f"of {window} do not divide. For masked images take a multiple of {least} pixels."
            )
        self.patch_embed = PatchEmbedding(sizes.in_channels, width, PATCH, _EPS)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        nn.init.normal_(self.mask_token, std=_STD)
        self.layers = nn.ModuleList(encoder_stages(sizes, feed_forward, _MANNER))
        coarsest = encoder_stage(sizes, STAGES - 1)
        self.first_patch_expanding = PatchExpand(coarsest.width, coarsest.tokens, 2, _EPS)
        self.layers_up = nn.ModuleList(decoder_stages(sizes, feed_forward, _MANNER))
        self.norm_up = nn.LayerNorm(width, eps=_EPS)
        self.decoder_pred = nn.Linear(width, PATCH * PATCH * sizes.in_channels)

    def forward(
        self, images: Float[Tensor, "b k h w"], mask: Bool[Tensor, "b n"], asked: Any = None
    ) -> Float[Tensor, "b n pixels"]:
        """The pixels of all patches as predicted, in the order of `patches`; `mask` is true where hidden."""
        x = self.patch_embed(images)
        x = torch.where(mask[:, :, None], self.mask_token, x)
        for layer in self.layers:
            x = layer(x, asked)
        x = self.first_patch_expanding(x)
        for layer in self.layers_up:
            x = layer(x, asked)
        return self.decoder_pred(self.norm_up(x))  # type: ignore[no-any-return]  # nn.Module calls are untyped


def masked_patches(noise: Float[Tensor, "b squares"], ratio: float = RATIO) -> Bool[Tensor, "b n"]:
    """Which patches are masked: all of a square of 4 × 4, but for squares of the least noise.

    Swin-MAE, section 3.1: a patch alone could be filled in from its neighbours. `noise` has one number for
    each square of a picture, in the order of rows; `int(squares * (1 - ratio))` of them stay visible.
    """
    across = round(noise.shape[1] ** 0.5)
    assert across * across == noise.shape[1], noise.shape
    seen = noise.argsort(dim=1)[:, : int(noise.shape[1] * (1 - ratio))]
    hidden = torch.ones_like(noise, dtype=torch.bool).scatter(1, seen, False)
    square = hidden.view(-1, across, 1, across, 1).expand(-1, across, SQUARE, across, SQUARE)
    return square.reshape(len(noise), noise.shape[1] * SQUARE * SQUARE)


def patches(images: Float[Tensor, "b k h w"]) -> Float[Tensor, "b n pixels"]:
    """The pixels of each patch: rows of it, then columns, then channels; patches in the order of rows."""
    batch, channels, height, width = images.shape
    cut = images.view(batch, channels, height // PATCH, PATCH, width // PATCH, PATCH)
    count = (height // PATCH) * (width // PATCH)
    return cut.permute(0, 2, 4, 3, 5, 1).reshape(batch, count, PATCH * PATCH * channels)


def masked_loss(
    prediction: Float[Tensor, "b n pixels"], images: Float[Tensor, "b k h w"], mask: Bool[Tensor, "b n"]
) -> Float[Tensor, ""]:
    """Mean square error over the pixels of masked patches; NaN where nothing is masked."""
    return (prediction - patches(images)).square().mean(dim=2)[mask].mean()
