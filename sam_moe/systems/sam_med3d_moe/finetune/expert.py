"""An expert's decoder learns to answer on embedded regions; all else of the general model stays as it is."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sam_moe.hosts.sam3d.lowering import BoxStrategy
from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.network.mask_decoder import MaskDecoder
from sam_moe.shapes import Float
from sam_moe.systems.sam_med3d_moe.finetune.embedded import Embedded
from sam_moe.systems.sam_med3d_moe.prompted.conversation import PROMPTING, Prompting, conversation_loss
from sam_moe.systems.sam_med3d_moe.prompted.measuring import BATCH, measure


def answering(base: SamMed3D, decoder: MaskDecoder) -> SamMed3D:
    """A model of the base's own encoders, not copies, and another decoder."""
    with torch.device("meta"):
        model = SamMed3D(base.sizes)
    model.image_encoder, model.prompt_encoder = base.image_encoder, base.prompt_encoder
    model.mask_decoder = decoder
    return model


class ExpertLoss(nn.Module):
    """One step's loss: embedded regions are prompted as in pretraining (`conversation_loss`).

    The decoder alone is part of it: checkpoints hold nothing of the frozen encoders.
    """

    def __init__(self, base: SamMed3D, decoder: MaskDecoder, prompting: Prompting = PROMPTING) -> None:
        super().__init__()
        self.decoder, self.prompting = decoder, prompting
        self._model = (answering(base, decoder),)  # in a tuple, so that its encoders are not taken for ours

    def forward(self, batch: Mapping[str, Tensor], rng: torch.Generator) -> Float[Tensor, ""]:
        """The mean loss of a batch of `Embedded` regions."""
        return conversation_loss(self._model[0], batch["embedding"], batch["target"], rng, self.prompting)


class ExpertValidation:
    """Mean Dice of a decoder's weights on embedded regions, as `measure` finds it."""

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


def _with(learner: MaskDecoder, weights: dict[str, Tensor]) -> MaskDecoder:
    decoder = copy.deepcopy(learner)
    decoder.load_state_dict(weights)
    return decoder
