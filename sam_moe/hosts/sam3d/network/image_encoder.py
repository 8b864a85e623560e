"""The image encoder of SAM-Med3D: a region of interest in, its embedding out; run once a region."""

from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam_moe.hosts.sam3d.network.attention import WindowAttention
from sam_moe.hosts.sam3d.network.layers import LayerNorm3d
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.shapes import Float


class PatchEmbed(nn.Module):
    """Cut the region into patches and project each to a token.

    A convolution whose kernel is its stride, run as one matrix product: the tokens come out channel last and
    contiguous, which everything behind is quicker for.
    """

    def __init__(self, patch_size: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv3d(1, dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, x: Float[Tensor, "b 1 s s s"]) -> Float[Tensor, "b g g g c"]:
        """Tokens, channel last."""
        p = self.proj.kernel_size[0]
        cut = x[:, 0].unflatten(1, (-1, p)).unflatten(3, (-1, p)).unflatten(5, (-1, p))
        patches = cut.permute(0, 1, 3, 5, 2, 4, 6).flatten(4)
        return F.linear(patches, self.proj.weight.flatten(1), self.proj.bias)


class MLPBlock(nn.Module):
    """Two linear layers with exact GELU between them; keys as in segment-anything's block of that name."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(dim, hidden)
        self.lin2 = nn.Linear(hidden, dim)
        self.act = nn.GELU()

    def forward(self, x: Float[Tensor, "... c"]) -> Float[Tensor, "... c"]:
        """Token by token."""
        out: Tensor = self.lin2(self.act(self.lin1(x)))
        return out


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, dim: int, num_heads: int, window: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = WindowAttention(dim, num_heads, window)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MLPBlock(dim, 4 * dim)

    def forward(self, x: Float[Tensor, "b g g g c"], plain: bool = False) -> Float[Tensor, "b g g g c"]:
        """Attention, then MLP, each added to its input; `plain` attends over padded windows."""
        normed = self.norm1(x)
        x = x + (self.attn.plain(normed) if plain else self.attn(normed))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class ImageEncoder(nn.Module):
    """SAM-Med3D's ViT (uni-medical/SAM-Med3D, `ImageEncoderViT3D`): patches, blocks, neck.

    `plain=True` runs the reference's padded attention: 12 times slower at full size and equal; it is the
    oracle.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        dim, out = sizes.embed_dim, sizes.out_channels
        self.image_size = sizes.image_size
        self.patch_embed = PatchEmbed(sizes.patch_size, dim)
        self.pos_embed = nn.Parameter(torch.zeros(1, sizes.grid, sizes.grid, sizes.grid, dim))
        self.blocks = nn.ModuleList(
            Block(dim, sizes.num_heads, sizes.grid if i in sizes.global_attn_indexes else sizes.window_size)
            for i in range(sizes.depth)
        )
        self.neck = nn.Sequential(
            nn.Conv3d(dim, out, kernel_size=1, bias=False),
            LayerNorm3d(out),
            nn.Conv3d(out, out, kernel_size=3, padding=1, bias=False),
            LayerNorm3d(out),
        )

    def forward(
        self,
        image: Float[Tensor, "b 1 s s s"],
        plain: bool = False,
        dtype: torch.dtype | None = None,
    ) -> Float[Tensor, "b o g g g"]:
        """Embed a normalised region; float32 comes out whatever `dtype` the products were computed in.

        `torch.bfloat16` is a choice for processors with matrix units for it (AMX, GPUs); elsewhere it is
        slower. Its error is measured in benchmarks/results/speed/encoder.txt.
        """
        # Without a dtype the caller's own autocast, if any, stays in force.
        with nullcontext() if dtype is None else torch.autocast(image.device.type, dtype=dtype):
            x: Tensor = self.patch_embed(image) + self.pos_embed
            for block in self.blocks:
                x = block(x, plain)
            out: Tensor = self.neck(x.movedim(-1, 1))
        return out if dtype is None else out.float()
