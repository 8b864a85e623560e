"""A residual convolutional image encoder in the ViT's place: region in, embedding out, all else alike.

In short runs it learnt quicker than the ViT from few scans (benchmarks/LOG.md). Neither the public model
nor `tiny` has it.
"""

from collections import OrderedDict
from contextlib import nullcontext
from itertools import pairwise

import torch
from torch import Tensor, nn

from sam_moe.hosts.sam3d.network.layers import LayerNorm3d
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.shapes import Float


class ResidualUnit(nn.Module):
    """Two convolutions, each with instance norm and GELU, added to their input (or its convolution).

    MONAI's block of that name with its parameter names, and the same numbers
    (tests/hosts/sam3d/network/test_conv_encoder.py): written out because importing MONAI takes longer than answering a
    click.
    """

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            OrderedDict(unit0=_convolution(inside, outside, stride), unit1=_convolution(outside, outside, 1))
        )
        self.residual: nn.Module = nn.Identity()
        if stride != 1:
            self.residual = nn.Conv3d(inside, outside, kernel_size=3, stride=stride, padding=1)
        elif inside != outside:
            self.residual = nn.Conv3d(inside, outside, kernel_size=1)

    def forward(self, x: Float[Tensor, "b i d h w"]) -> Float[Tensor, "b o e f g"]:
        """Halved in size where the stride is 2."""
        out: Tensor = self.conv(x) + self.residual(x)
        return out


def _convolution(inside: int, outside: int, stride: int) -> nn.Sequential:
    norm = nn.InstanceNorm3d(outside, affine=True)
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv3d(inside, outside, kernel_size=3, stride=stride, padding=1),
            adn=nn.Sequential(OrderedDict(N=norm, A=nn.GELU())),
        )
    )


class ConvEncoder(nn.Module):
    """Units that halve the region until it has the embedding's grid, `depth` more, and a neck (ours).

    `sizes.conv_widths` are the channels of the finer stages, `sizes.embed_dim` those at the embedding's grid.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        widths = (1, *sizes.conv_widths, sizes.embed_dim)
        self.stages = nn.Sequential(
            *(ResidualUnit(a, b, 2) for a, b in pairwise(widths)),
            *(ResidualUnit(sizes.embed_dim, sizes.embed_dim, 1) for _ in range(sizes.depth)),
        )
        self.neck = nn.Sequential(
            nn.Conv3d(sizes.embed_dim, sizes.out_channels, kernel_size=1, bias=False),
            LayerNorm3d(sizes.out_channels),
        )

    def forward(
        self, image: Float[Tensor, "b 1 s s s"], dtype: torch.dtype | None = None
    ) -> Float[Tensor, "b o g g g"]:
        """Embed a normalised region; float32 comes out whatever `dtype` the products were computed in."""
        # Without a dtype the caller's own autocast, if any, stays in force.
        with nullcontext() if dtype is None else torch.autocast(image.device.type, dtype=dtype):
            out: Tensor = self.neck(self.stages(image))
        return out if dtype is None else out.float()
