"""SAM-Med3D whole: encode a region once, answer prompts on it."""

import torch
from torch import Tensor, nn

from sam_moe.hosts.sam3d.network.conv_encoder import ConvEncoder
from sam_moe.hosts.sam3d.network.image_encoder import ImageEncoder
from sam_moe.hosts.sam3d.network.mask_decoder import MaskDecoder
from sam_moe.hosts.sam3d.network.prompt_encoder import PromptEncoder, PromptTokens
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.moe.routing import Routing
from sam_moe.shapes import Float, Int


class SamMed3D(nn.Module):
    """The general model (arXiv 2310.15161): image encoder, prompt encoder, mask decoder; published keys."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.image_encoder = ImageEncoder(sizes) if sizes.encoder == "vit" else ConvEncoder(sizes)
        self.prompt_encoder = PromptEncoder(sizes)
        self.mask_decoder = MaskDecoder(sizes)

    def encode(
        self, image: Float[Tensor, "b 1 s s s"], dtype: torch.dtype | None = None
    ) -> Float[Tensor, "b c g g g"]:
        """Embed a normalised region; `dtype` as in `ImageEncoder.forward`."""
        embedding: Tensor = self.image_encoder(image, dtype=dtype)
        return embedding

    def encode_prompt(
        self,
        points: Float[Tensor, "b n 3"] | None,
        labels: Int[Tensor, "b n"] | None,
        boxes: Float[Tensor, "b 2 3"] | None,
        mask: Float[Tensor, "b 1 l l l"] | None,
    ) -> PromptTokens:
        """Embed prompts; coordinates are voxel indices of the region. See `PromptEncoder.forward`."""
        tokens: PromptTokens = self.prompt_encoder(points, labels, boxes, mask)
        return tokens

    def decode(
        self, embedding: Float[Tensor, "b c g g g"], tokens: PromptTokens
    ) -> Float[Tensor, "b 1 l l l"]:
        """Low-resolution logits of the one trained mask output."""
        dense_map = self.prompt_encoder.dense_map()
        logits: Tensor = self.mask_decoder(embedding, dense_map, tokens.sparse, tokens.dense).logits
        return logits

    def choose(self, embedding: Float[Tensor, "b c g g g"], tokens: PromptTokens) -> None:
        """None: the model has one decoder, and no experts to choose among."""

    def decode_routed(
        self, embedding: Float[Tensor, "b c g g g"], tokens: PromptTokens, routing: Routing | None = None
    ) -> tuple[Float[Tensor, "b 1 l l l"], None]:
        """Low-resolution logits as `decode` gives them, and no routing; mixtures have the same method."""
        assert routing is None, "a routing is given back to the mixture that it came from"
        return self.decode(embedding, tokens), None

    def forward(
        self,
        image: Float[Tensor, "b 1 s s s"],
        points: Float[Tensor, "b n 3"] | None = None,
        labels: Int[Tensor, "b n"] | None = None,
        boxes: Float[Tensor, "b 2 3"] | None = None,
        mask: Float[Tensor, "b 1 l l l"] | None = None,
    ) -> Float[Tensor, "b 1 l l l"]:
        """Region and prompts in, low-resolution logits out; the way that training wraps."""
        return self.decode(self.encode(image), self.encode_prompt(points, labels, boxes, mask))
