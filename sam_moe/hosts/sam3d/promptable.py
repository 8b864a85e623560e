"""SAM-Med3D as prediction asks it: intensities of a region in, logits for points and boxes in it out.

Everything that is SAM-Med3D's own about an answer is here: how intensities are normalised, that a first
answer has a mask prompt of zeros, and how a box is lowered to what the weights know.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from sam_moe.hosts.sam3d.lowering import BoxStrategy, draw_box, lower_box
from sam_moe.hosts.sam3d.network.prompt_encoder import PromptTokens
from sam_moe.hosts.sam3d.normalise import Normalisation, normalise
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.moe.routing import Routing
from sam_moe.shapes import Float, Int


@runtime_checkable
class Sam3DModule(Protocol):
    """A module that embeds and decodes as SAM-Med3D does: the general model, or a mixture on it."""

    @property
    def sizes(self) -> Sizes:
        """The network's sizes."""

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """Its weights; they all lie on one device."""

    def encode(
        self, image: Float[Tensor, "b 1 s s s"], dtype: torch.dtype | None = None
    ) -> Float[Tensor, "b c g g g"]:
        """Embed normalised regions, in float32 or with products in another `dtype`."""

    def encode_prompt(
        self, points: Tensor | None, labels: Tensor | None, boxes: Tensor | None, mask: Tensor | None
    ) -> PromptTokens:
        """Embed prompts given in the region's voxels."""

    def choose(self, embedding: Float[Tensor, "b c g g g"], tokens: PromptTokens) -> Routing | None:
        """The experts for each prompt; None of a model that has one decoder."""

    def decode_routed(
        self, embedding: Float[Tensor, "b c g g g"], tokens: PromptTokens, routing: Routing | None = None
    ) -> tuple[Float[Tensor, "b 1 l l l"], Routing | None]:
        """Low-resolution logits and the routing they come from: `routing`, if it is given."""


@dataclass(frozen=True, eq=False)
class PromptableSam3D:
    """A SAM-Med3D with its settings: `sam_moe.predict.answering.Promptable` on cubic regions.

    Attributes:
        module: the torch module; frozen, in evaluation mode.
        normalisation: how the weights were trained to see intensities; written in the backbone's card.
        box_strategy: how a box is lowered: `corners` for weights that have corner embeddings, else `center`
            or `mask`.
        encoder_fingerprint: equal for modules that embed alike, so that they can share a cache; by default
            that of no other.
    """

    module: Sam3DModule
    normalisation: Normalisation
    box_strategy: BoxStrategy
    encoder_fingerprint: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def embedding_key(self) -> str:
        """What an embedding depends on beside the region: the encoder's weights and the normalisation."""
        return f"{self.encoder_fingerprint} {self.normalisation}"

    @property
    def outside(self) -> float | None:
        """Intensity of what lies outside the scan: 0, which `positive` leaves out; None: the scan's least."""
        return 0.0 if self.normalisation == "positive" else None

    def embed(
        self, image: Float[Tensor, "s s s"], dtype: torch.dtype | None = None
    ) -> Float[Tensor, "1 c g g g"]:
        """Normalise a region's intensities and encode them, with products in `dtype` where one is given."""
        device = next(iter(self.module.parameters())).device
        normal = normalise(image, self.normalisation)
        return self.module.encode(normal[None, None].to(device), dtype)

    def route(
        self,
        embedding: Float[Tensor, "1 c g g g"],
        points: Float[Tensor, "n 3"],
        labels: Int[Tensor, " n"],
        boxes: Float[Tensor, "m 2 3"],
    ) -> Routing | None:
        """The experts for a prompt, by what the region shows where it points; None of a plain model."""
        return self.module.choose(embedding, self._tokens(embedding.device, points, labels, boxes, None))

    def answer(
        self,
        embedding: Float[Tensor, "1 c g g g"],
        points: Float[Tensor, "n 3"],
        labels: Int[Tensor, " n"],
        boxes: Float[Tensor, "m 2 3"],
        previous: Float[Tensor, "l l l"] | None = None,
        routing: Routing | None = None,
    ) -> tuple[Float[Tensor, "l l l"], Routing | None]:
        """Low-resolution logits for one prompt, float32 on the CPU, and the routing they come from.

        Args:
            embedding: of the region, from `embed`.
            points: voxel indices of the region, voxel centres at whole numbers.
            labels: 1 for each positive point, 0 for each negative one.
            boxes: [start, stop) in the region's voxels.
            previous: logits of an earlier answer on this region, which become the mask prompt. At first there
                are none, which is zeros (never the untrained `no_mask_embed`), or the drawn box where that is
                the strategy.
            routing: experts chosen before, to be used again; without it the gate chooses.

        Of several boxes `corners` and `center` take the one around all of them, and `mask` draws each (ours).
        """
        tokens = self._tokens(embedding.device, points, labels, boxes, previous)
        logits, found = self.module.decode_routed(embedding, tokens, routing)
        return logits[0, 0].float().cpu(), found

    def _tokens(
        self, device: torch.device, points: Tensor, labels: Tensor, boxes: Tensor, mask: Tensor | None
    ) -> PromptTokens:
        """The prompt as the prompt encoder takes it."""
        sizes, corners = self.module.sizes, None
        if len(boxes):
            hull = torch.stack([boxes[:, 0].amin(0), boxes[:, 1].amax(0)])[None]
            lowered = lower_box(hull, self.box_strategy, sizes.image_size, sizes.low_res)
            corners = lowered.boxes
            if lowered.points is not None:
                points = torch.cat([lowered.points[0], points])
                labels = torch.cat([torch.ones(1, dtype=labels.dtype), labels])
            if lowered.mask is not None and mask is None:
                mask = draw_box(boxes, sizes.image_size, sizes.low_res).amax(0)[0]
        if mask is None:
            mask = torch.zeros((sizes.low_res,) * 3)
        return self.module.encode_prompt(
            points[None].to(device) if len(points) else None,
            labels[None].to(device) if len(points) else None,
            corners.to(device) if corners is not None else None,
            mask[None, None].to(device),
        )
