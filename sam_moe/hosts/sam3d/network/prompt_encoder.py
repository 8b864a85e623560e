"""The prompt encoder of SAM-Med3D: points, boxes and the previous mask become tokens and a dense map."""

from math import nan, pi
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sam_moe.hosts.sam3d.network.layers import Derived, LayerNorm3d
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.shapes import Float, Int


class PromptTokens(NamedTuple):
    """A prompt as the decoder takes it, and where its clicks and corners lie, which only a gate uses.

    `places` are shares of the region's edge, (x, y, z) as the axes of the region's tensor, in the order of
    `sparse`; NaN where a token has no place on the target: a negative
    click, an ignored one, the appended token.
    """

    sparse: Float[Tensor, "b n c"]
    dense: Float[Tensor, "b c g g g"]
    places: Float[Tensor, "b n 3"]


class PositionalEncoding(nn.Module):
    """Random Fourier features of a position; three thirds: sine, cosine, sine again (the reference's)."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(3, features))

    def forward(self, position: Float[Tensor, "... 3"]) -> Float[Tensor, "... c"]:
        """Encode positions given as shares of the region's edge, in [0, 1]."""
        with torch.autocast(position.device.type, enabled=False):  # in bfloat16 a click would be elsewhere
            angle = 2 * pi * ((2 * position - 1) @ self.positional_encoding_gaussian_matrix)
        return torch.cat([angle.sin(), angle.cos(), angle.sin()], dim=-1)


class PromptEncoder(nn.Module):
    """SAM-Med3D's `PromptEncoder3D`, with the corner embeddings of its later box checkpoints if any.

    Labels: 1 positive, 0 negative, -1 ignored. Public weights were never trained without a mask prompt, so
    callers pass one, zeros at first. Their region's axes are (x, y, z) in RAS, the order of the volume's
    tensor.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        dim = sizes.out_channels
        self.image_size, self.grid = sizes.image_size, sizes.grid
        self.pe_layer = PositionalEncoding(dim // 3)
        self.point_embeddings = nn.ModuleList(
            nn.Embedding(1, dim) for _ in range(4 if sizes.corner_embeddings else 2)
        )
        self.not_a_point_embed = nn.Embedding(1, dim)
        self.mask_downscaling = nn.Sequential(
            nn.Conv3d(1, 4, kernel_size=2, stride=2),
            LayerNorm3d(4),
            nn.GELU(),
            nn.Conv3d(4, 16, kernel_size=2, stride=2),
            LayerNorm3d(16),
            nn.GELU(),
            nn.Conv3d(16, dim, kernel_size=1),
        )
        self.no_mask_embed = nn.Embedding(1, dim)
        self._dense_map = Derived()

    @property
    def knows_boxes(self) -> bool:
        """Whether these weights hold corner embeddings."""
        return len(self.point_embeddings) == 4

    def dense_map(self) -> Float[Tensor, "1 c g g g"]:
        """Position features of the embedding's voxels, computed once.

        The reference swaps axes 0 and 1 here: voxel (i, j, k) carries the feature of point (j, i, k). The
        weights were trained so; pinned by tests/hosts/sam3d/network/test_prompt_encoder.py.
        """
        matrix = self.pe_layer.positional_encoding_gaussian_matrix

        def compute() -> tuple[Tensor, ...]:
            steps = (torch.arange(self.grid, device=matrix.device, dtype=matrix.dtype) + 0.5) / self.grid
            j, i, k = torch.meshgrid(steps, steps, steps, indexing="ij")
            return (self.pe_layer(torch.stack([i, j, k], dim=-1)).movedim(-1, 0)[None],)

        return self._dense_map(compute, matrix)[0]

    def forward(
        self,
        points: Float[Tensor, "b n 3"] | None = None,
        labels: Int[Tensor, "b n"] | None = None,
        boxes: Float[Tensor, "b 2 3"] | None = None,
        mask: Float[Tensor, "b 1 m m m"] | None = None,
        batch: int = 1,
    ) -> PromptTokens:
        """Encode a batch of prompts; coordinates are voxel indices of the region, counted from 0.

        Points without a box get one ignored token appended, as the reference does. `batch` counts only
        where none of these is given.
        """
        dim = self.not_a_point_embed.weight.shape[1]
        given = next((p for p in (points, boxes, mask) if p is not None), None)
        batch = batch if given is None else len(given)
        tokens = [self.not_a_point_embed.weight.new_zeros(batch, 0, dim)]
        places = [tokens[0].new_zeros(batch, 0, 3)]
        if points is not None:
            assert labels is not None
            tokens.append(self._embed_points(points, labels))
            places.append(self._shares(points).where((labels > 0)[..., None], nan))
            if boxes is None:
                tokens.append(self.not_a_point_embed.weight.expand(batch, 1, dim))
                places.append(points.new_full((batch, 1, 3), nan))
        if boxes is not None:
            tokens.append(self._embed_corners(boxes))
            places.append(self._shares(boxes))
        if mask is not None:
            dense = self.mask_downscaling(mask)
        else:
            dense = self.no_mask_embed.weight.view(1, dim, 1, 1, 1).expand(batch, dim, *[self.grid] * 3)
        return PromptTokens(torch.cat(tokens, dim=1), dense, torch.cat(places, dim=1))

    def _shares(self, at: Tensor) -> Tensor:
        """Voxel indices as shares of the region's edge: voxel 0's centre lies half a voxel inside."""
        return (at + 0.5) / self.image_size

    def _embed_points(self, points: Tensor, labels: Tensor) -> Tensor:
        """Position feature plus what the click means; an ignored point is its own embedding alone."""
        negative, positive = self._meanings()[:2]
        meaning = torch.cat([negative, positive, self.not_a_point_embed.weight])
        feature: Tensor = self.pe_layer(self._shares(points)) * (labels >= 0)[..., None]
        return feature + meaning[labels.where(labels >= 0, 2)]

    def _embed_corners(self, boxes: Tensor) -> Tensor:
        """Two tokens a box: its low and its high corner."""
        assert self.knows_boxes, "lower the box first: these weights have no corner embeddings"
        feature: Tensor = self.pe_layer(self._shares(boxes))
        return feature + torch.cat(self._meanings()[2:])

    def _meanings(self) -> list[Tensor]:
        """Negative, positive and, where they exist, low and high corner."""
        return [tensor for _, tensor in self.point_embeddings.named_parameters()]
