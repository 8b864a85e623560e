"""The paper's pretraining: one expert learns to fill in masked images of its modality, all else stays."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sam_moe.hosts.conv_unet.sizes import ConvSizes
from sam_moe.hosts.swin_unet.masked import RATIO, SQUARE, masked_patches
from sam_moe.hosts.swin_unet.sizes import PATCH
from sam_moe.moe.by_row import ByRow
from sam_moe.shapes import Bool, Float
from sam_moe.systems.m4oe.model import M4oE
from sam_moe.systems.m4oe.place import Asked

_EDGE = SQUARE * PATCH  # pixels along a side of what is masked together
_BODY = 0.02  # of a tile's range above its least: less is air, which is filled in without knowing anything


class MaskedLoss(nn.Module):
    """The mean square error of masked pixels, answered by one expert at every gated place.

    Squares of 16 pixels are masked together, three quarters of them, as in Swin-MAE (arXiv 2212.13805), which
    M4oE's authors name for this phase; the network is M4oE itself, with a convolution of its own to pixels
    that is thrown away afterwards (ours). The expert, that convolution and the token that stands for masked
    pixels learn.

    Args:
        model: whose expert learns.
        expert: its number.
    """

    def __init__(self, model: M4oE, expert: int) -> None:
        super().__init__()
        sizes = model.host.sizes
        width = sizes.widths[0] if isinstance(sizes, ConvSizes) else sizes.embed_dim
        self.model, self.expert = model, expert
        self.token = nn.Parameter(torch.zeros(1, sizes.in_channels, 1, 1))
        self.filled = nn.Conv2d(width, sizes.in_channels, 1)

    def forward(self, batch: Mapping[str, Tensor], rng: torch.Generator) -> Float[Tensor, ""]:
        """The mean over masked pixels."""
        error, hidden = self.errors(batch["image"], rng)
        return error[hidden].mean()

    def errors(
        self, images: Float[Tensor, "b c h w"], rng: torch.Generator
    ) -> tuple[Float[Tensor, "b c h w"], Bool[Tensor, "b c h w"]]:
        """Square errors of all pixels, and which were masked."""
        hidden = masked_pixels(images, rng)
        asked = Asked(rule=ByRow(torch.full((len(images),), self.expert, device=images.device)))
        features = self.model.host.features(torch.where(hidden, self.token, images), asked)
        return (self.filled(features) - images).square(), hidden.expand_as(images)

    @torch.no_grad()
    def unexplained(self, images: Float[Tensor, "b c h w"], rng: torch.Generator) -> float:
        """The masked loss inside the body, through the variance of these very pixels.

        1 is no better than their mean. Air is left out, because an image that is mostly air is filled in well
        without knowing the body.
        """
        error, hidden = self.errors(images, rng)
        low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
        inside = hidden & (images > low + _BODY * (high - low))
        return float(error[inside].mean() / images[inside].var(correction=0))


def masked_pixels(images: Float[Tensor, "b c h w"], rng: torch.Generator) -> Bool[Tensor, "b 1 h w"]:
    """Which pixels are masked, of images whose sides are multiples of 16."""
    count, _, height, width = images.shape
    assert height == width and height % _EDGE == 0, images.shape
    across = height // _EDGE
    noise = torch.rand(count, across * across, generator=rng)
    patches = masked_patches(noise, RATIO).view(count, 1, height // PATCH, width // PATCH)
    return patches.repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3).to(images.device)
