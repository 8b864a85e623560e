"""An expert that is a mask decoder on its base's embeddings; stored by the checkpoint's `mask_decoder.…`."""

import copy
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from sam_moe.errors import CardError, WeightsError
from sam_moe.hosts.sam3d.heads import freeze_unasked
from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.network.mask_decoder import MaskDecoder
from sam_moe.registry import ExpertCard
from sam_moe.systems.sam_med3d_moe.experts import Kind
from sam_moe.systems.sam_med3d_moe.peft import is_adapters
from sam_moe.weights.report import compare

PREFIX = "mask_decoder."


class Decoder(Kind):
    """A finetuned mask decoder: taken from a decoder's state, or a whole model's with the base's encoders.

    Names may be a whole model's, a decoder's with `mask_decoder.` before them, or a decoder's without.
    """

    shows: ClassVar[bool] = True
    from_any: ClassVar[bool] = True

    def recognises(self, state: Mapping[str, Tensor], base: SamMed3D) -> bool:
        """Whether all that is not a decoder's is the base's; low-rank deltas are none."""
        if is_whole(state):
            return is_bases(state, base)
        return not any(map(is_adapters, state))

    def take(
        self, state: Mapping[str, Tensor], base: SamMed3D, settings: Any, where: str
    ) -> dict[str, Tensor]:
        """The decoder's tensors alone, with `mask_decoder.` before their names."""
        if is_whole(state):
            return {name: tensor for name, tensor in state.items() if name.startswith(PREFIX)}
        named = {name if name.startswith(PREFIX) else PREFIX + name: tensor for name, tensor in state.items()}
        expected = {PREFIX + name: tensor for name, tensor in base.mask_decoder.state_dict().items()}
        report = compare(named, expected)
        if not report.ok:
            raise WeightsError(f"{where}: does not fit the decoder of its base: {report}")
        return named

    def build(self, state: Mapping[str, Tensor], base: SamMed3D, card: ExpertCard, where: str) -> MaskDecoder:
        """A frozen decoder in fp32, of the base's sizes."""
        if not self.recognises(state, base):
            raise CardError(
                f"{where}: holds a whole model with its own encoder, not a decoder for this base."
            )
        with torch.device("meta"):
            decoder = MaskDecoder(base.sizes)
        owned = {
            name.removeprefix(PREFIX): tensor.to(torch.float32, copy=True)
            for name, tensor in self.take(state, base, None, where).items()
        }
        decoder.load_state_dict(owned, strict=True, assign=True)
        return decoder.eval().requires_grad_(False)

    def learner(
        self, decoder: MaskDecoder, settings: Any, seed: int, start: Mapping[str, Tensor] | None = None
    ) -> MaskDecoder:
        """A copy of a decoder that learns, but for the heads that are never asked."""
        learner = copy.deepcopy(decoder).requires_grad_(True)
        freeze_unasked(learner)
        return learner

    def stored(self, learner: MaskDecoder, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All of the decoder's weights."""
        return {f"{PREFIX}{name}": tensor for name, tensor in weights.items()}


def is_whole(state: Mapping[str, Tensor]) -> bool:
    """Whether tensors are those of a whole model, with an image encoder."""
    return any(name.startswith("image_encoder.") for name in state) and not any(map(is_adapters, state))


def is_bases(state: Mapping[str, Tensor], base: SamMed3D) -> bool:
    """Whether a whole model is the base but for its decoder, as far as its precision shows."""
    expected = base.state_dict()
    return compare(state, expected).ok and all(
        torch.equal(state[name].to(tensor.dtype), tensor.to(state[name].dtype).to(tensor.dtype))
        for name, tensor in expected.items()
        if not name.startswith(PREFIX)
    )
