"""The mask decoder of SAM-Med3D, token-major; in the mixture, one expert is one of these."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam_moe.hosts.sam3d.network.layers import MLP, Derived, LayerNorm3d
from sam_moe.hosts.sam3d.network.transformer import TwoWayTransformer
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.shapes import Float


class MaskAnswer(NamedTuple):
    """Low-resolution mask logits and the decoder's own guess of their IoU (untrained in public weights)."""

    logits: Float[Tensor, "b m l l l"]
    iou: Float[Tensor, "b m"]


class MaskDecoder(nn.Module):
    """SAM-Med3D's `MaskDecoder3D`: two-way attention, up-scaling by four, one hyper-network a mask.

    Only mask output 0 was trained. The transposed convolutions (kernel = stride) run as matrix products on
    tokens kept in the order they fall apart, so that nothing but the finished logits is ever permuted
    ("ours", exact).
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        dim = sizes.out_channels
        self.transformer = TwoWayTransformer(
            dim, sizes.decoder_depth, sizes.decoder_heads, sizes.decoder_mlp_dim
        )
        self.iou_token = nn.Embedding(1, dim)
        self.mask_tokens = nn.Embedding(4, dim)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose3d(dim, dim // 4, kernel_size=2, stride=2),
            LayerNorm3d(dim // 4),
            nn.GELU(),
            nn.ConvTranspose3d(dim // 4, dim // 8, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(MLP((dim, dim, dim, dim // 8)) for _ in range(4))
        hidden = sizes.iou_hidden_dim
        self.iou_prediction_head = MLP((dim, hidden, hidden, 4))
        self._kernels = Derived()

    def forward(
        self,
        embedding: Float[Tensor, "b c g g g"],
        dense_map: Float[Tensor, "1 c g g g"],
        sparse: Float[Tensor, "b n c"],
        dense: Float[Tensor, "b c g g g"],
        masks: Sequence[int] = (0,),
    ) -> MaskAnswer:
        """Answer prompts; `masks` names the outputs wanted, and only those are computed."""
        batch, grid = len(sparse), embedding.shape[-1]
        fixed = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([fixed.expand(batch, -1, -1), sparse], dim=1)
        source = (embedding + dense).flatten(2).transpose(1, 2).contiguous()
        tokens, source = self.transformer(source, dense_map.flatten(2).transpose(1, 2), tokens)
        wanted = list(masks)
        hyper = [self.output_hypernetworks_mlps[m](tokens[:, 1 + m]) for m in wanted]
        logits = self._upscale(source, torch.stack(hyper, dim=1), grid)
        return MaskAnswer(logits, self.iou_prediction_head(tokens[:, 0])[:, wanted])

    def _upscale(
        self, source: Float[Tensor, "b n c"], hyper: Float[Tensor, "b m o"], grid: int
    ) -> Float[Tensor, "b m l l l"]:
        """Both transposed convolutions and the product with the hyper-networks' answers."""
        first, norm, second = (self.output_upscaling[i] for i in (0, 1, 3))
        assert isinstance(norm, LayerNorm3d)
        kernels = self._kernels(
            lambda: (*_as_linear(first), *_as_linear(second)), *first.parameters(), *second.parameters()
        )
        batch, tokens, _ = source.shape
        x = F.linear(source, *kernels[:2]).view(batch, 8 * tokens, -1)
        x = F.linear(F.gelu(norm.over_last(x)), *kernels[2:])
        x = F.gelu(x).view(batch, 64 * tokens, -1)
        logits = hyper @ x.transpose(1, 2)
        # Each token became 2x2x2 children, each child 2x2x2 grandchildren: put them where they lie.
        logits = logits.view(batch, hyper.shape[1], grid, grid, grid, 2, 2, 2, 2, 2, 2)
        logits = logits.permute(0, 1, 2, 5, 8, 3, 6, 9, 4, 7, 10)
        return logits.reshape(batch, hyper.shape[1], 4 * grid, 4 * grid, 4 * grid)


def _as_linear(layer: nn.Module) -> tuple[Float[Tensor, "eight_o i"], Float[Tensor, " eight_o"]]:
    """A transposed convolution of kernel = stride = 2 as one linear layer onto its 8 children."""
    assert isinstance(layer, nn.ConvTranspose3d) and layer.bias is not None
    return layer.weight.permute(2, 3, 4, 1, 0).flatten(0, 3).contiguous(), layer.bias.repeat(8)
