"""An expert's decoder learns to answer on embedded regions; all else of the general model stays as it is."""

import copy
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from sam_moe.errors import SamMoeError
from sam_moe.hosts.sam3d.lora import add_lora, load_lora, lora_layers, lora_ranks, lora_state
from sam_moe.hosts.sam3d.lowering import BoxStrategy
from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.network.mask_decoder import MaskDecoder
from sam_moe.registry import Lora
from sam_moe.shapes import Bool, Float
from sam_moe.systems.sam_med3d_moe.finetune.embedded import Embedded
from sam_moe.systems.sam_med3d_moe.pretrain.validation import BATCH, measure
from sam_moe.systems.sam_med3d_moe.prompted.conversation import DEPTHS, talk_through
from sam_moe.systems.sam_med3d_moe.prompted.regions import freeze_unasked
from sam_moe.training.engine.seeds import seeded
from sam_moe.weights.checksums import fingerprint

Kind = Literal["decoder", "lora"]


def answering(base: SamMed3D, decoder: MaskDecoder) -> SamMed3D:
    """A model of the base's own encoders, not copies, and another decoder."""
    with torch.device("meta"):
        model = SamMed3D(base.sizes)
    model.image_encoder, model.prompt_encoder = base.image_encoder, base.prompt_encoder
    model.mask_decoder = decoder
    return model


def whole_learner(decoder: MaskDecoder) -> MaskDecoder:
    """A copy of a decoder that learns, but for the heads that are never asked."""
    learner = copy.deepcopy(decoder).requires_grad_(True)
    freeze_unasked(learner)
    return learner


def lora_learner(
    decoder: MaskDecoder, lora: Lora, seed: int, start: dict[str, Tensor] | None = None
) -> MaskDecoder:
    """A copy of a decoder with deltas that learn: fresh ones, or those of `start`, of the same ranks.

    Raises:
        WeightsError: for a layer that the decoder does not have, or deltas that do not fit it.
    """
    if start is None:
        with seeded(seed):
            return add_lora(decoder, lora_ranks(decoder, lora.rank, lora.per_layer), lora.alpha)
    learner = load_lora(decoder, start, lora.alpha)
    for layer in lora_layers(learner).values():
        if hasattr(layer, "parametrizations"):
            layer.parametrizations.weight[0].requires_grad_(True)  # type: ignore[union-attr, index]
    return learner


def stored(learner: MaskDecoder, weights: dict[str, Tensor], kind: Kind) -> dict[str, Tensor]:
    """What a card of this kind names, out of the learner's weights at the step that is kept."""
    if kind == "decoder":
        return {f"mask_decoder.{name}": tensor for name, tensor in weights.items()}
    return lora_state(_with(learner, weights))


class ExpertLoss(nn.Module):
    """One step's loss: embedded regions are talked about as in pretraining (`conversation.talk_through`).

    The decoder alone is part of it: checkpoints hold nothing of the frozen encoders.
    """

    def __init__(
        self,
        base: SamMed3D,
        decoder: MaskDecoder,
        depths: Sequence[float] = DEPTHS,
        box_jitter: float = 0.06,
        box_strategy: BoxStrategy = "mask",
    ) -> None:
        super().__init__()
        self.decoder, self.box_jitter = decoder, box_jitter
        self.box_strategy: BoxStrategy = box_strategy
        self.depths = torch.tensor(depths)
        self._asked = (answering(base, decoder),)  # in a tuple, so that its encoders are not taken for ours

    def forward(
        self, embedding: Float[Tensor, "b c g g g"], target: Bool[Tensor, "b t s s s"], rng: torch.Generator
    ) -> Float[Tensor, ""]:
        """The mean loss of a step."""
        how = self.depths, self.box_jitter, self.box_strategy
        return talk_through(self._asked[0], embedding, target, rng, *how)


class ExpertValidation:
    """Mean Dice of a decoder's weights on embedded regions, figured as `validation.Validation` does."""

    def __init__(
        self, base: SamMed3D, learner: MaskDecoder, regions: Embedded, box_strategy: BoxStrategy = "mask"
    ) -> None:
        self.base, self.learner, self.regions = base, learner, regions
        self.box_strategy: BoxStrategy = box_strategy

    def __call__(self, weights: dict[str, Tensor]) -> dict[str, float]:
        """Measure weights with the names of the learner's."""
        return self._measure(_with(self.learner, weights))

    def of_the_base(self) -> dict[str, float]:
        """What the general model itself reaches on the same regions."""
        return self._measure(self.base.mask_decoder)

    def _measure(self, decoder: MaskDecoder) -> dict[str, float]:
        device = next(decoder.parameters()).device
        batches = ((e.to(device), target.to(device)) for e, target in self.regions.batches(BATCH))
        return measure(answering(self.base, decoder).eval(), batches, self.box_strategy)


def check_untouched(base: SamMed3D, before: str) -> None:
    """See that no tensor of the general model has changed.

    Raises:
        SamMoeError: where one has.
    """
    if (after := fingerprint(base)) != before:
        raise SamMoeError(
            f"the general model changed while an expert learnt: its fingerprint was {before} and is {after}. "
            "Nothing was written; this is a fault of sam-moe, please report it."
        )


def _with(learner: MaskDecoder, weights: dict[str, Tensor]) -> MaskDecoder:
    decoder = copy.deepcopy(learner)
    decoder.load_state_dict(weights)
    return decoder
