"""An expert of low-rank deltas on its base's decoder; stored as `<layer of the decoder>.up` and `.down`."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from sam_moe.errors import WeightsError
from sam_moe.hosts.sam3d.lora import add_lora, load_lora, lora_layers, lora_ranks, lora_state, merge
from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.network.mask_decoder import MaskDecoder
from sam_moe.registry import ExpertCard
from sam_moe.registry import LoraRanks as Ranks
from sam_moe.systems.sam_med3d_moe.experts import Converted, Given, Kind
from sam_moe.systems.sam_med3d_moe.peft import adapter_folder, drafted, is_adapters, own_names
from sam_moe.training.engine.seeds import seeded


class Lora(Kind):
    """Deltas of the ranks and the scale that the card's `lora` gives (LoRA, Hu et al., arXiv 2106.09685)."""

    def settings(self, given: Given, where: str) -> Ranks:
        """The ranks."""
        assert given.lora is not None  # the card's own check, and the recipe's
        return given.lora

    def recognises(self, state: Mapping[str, Tensor], base: SamMed3D) -> bool:
        """Whether tensors have PEFT's names; `take` refuses them without ranks."""
        return any(map(is_adapters, state))

    def reads(self, source: Path, card: Path | str | None) -> Converted | None:
        """The folder of an adapter as PEFT writes it, or the file of tensors in one."""
        if (folder := adapter_folder(source)) is None:
            return None
        draft, adapter = drafted(folder, card)
        return Converted(draft, adapter.file, adapter.state)

    def take(
        self, state: Mapping[str, Tensor], base: SamMed3D, settings: Any, where: str
    ) -> dict[str, Tensor]:
        """Deltas as `hosts.sam3d.lora.lora_state` or PEFT names them, of the ranks that the card has."""
        if settings is None:
            raise WeightsError(
                f"{where}: holds low-rank deltas (lora_A, lora_B), and not how they are scaled. Give the "
                "adapter's folder with its adapter_config.json; or let the card say expert_kind 'lora' and "
                'lora: {"rank": 8, "alpha": 16}, with the numbers of the training.'
            )
        ranks: Ranks = settings
        state = own_names(state, where)
        try:
            load_lora(base.mask_decoder, state, ranks.alpha)
        except WeightsError as error:
            raise WeightsError(f"{where}: {error}") from error
        found = {name.removesuffix(".down"): len(t) for name, t in state.items() if name.endswith(".down")}
        for layer, rank in found.items():
            if rank != (expected := ranks.per_layer.get(layer, ranks.rank)):
                raise WeightsError(
                    f"{where}: the delta of {layer} has rank {rank}, and the card says {expected}. Correct "
                    "lora.rank or lora.per_layer."
                )
        if lost := sorted(set(ranks.per_layer) - set(found)):
            raise WeightsError(
                f"{where}: has no deltas of {', '.join(lost)}, though lora.per_layer names them."
            )
        return state

    def build(self, state: Mapping[str, Tensor], base: SamMed3D, card: ExpertCard, where: str) -> MaskDecoder:
        """A frozen copy of the base's decoder, with the deltas written into its weights."""
        ranks = self.settings(card, where)
        self.take(state, base, ranks, where)
        return merge(load_lora(base.mask_decoder, state, ranks.alpha)).eval().requires_grad_(False)

    def learner(
        self, decoder: MaskDecoder, settings: Any, seed: int, start: Mapping[str, Tensor] | None = None
    ) -> MaskDecoder:
        """A copy of a decoder with deltas that learn: fresh ones, or those of `start`, of the same ranks.

        Raises:
            WeightsError: for a layer that the decoder does not have, or deltas that do not fit it.
        """
        ranks: Ranks = settings
        if start is None:
            with seeded(seed):
                return add_lora(decoder, lora_ranks(decoder, ranks.rank, ranks.per_layer), ranks.alpha)
        learner = load_lora(decoder, start, ranks.alpha)
        for layer in lora_layers(learner).values():
            if hasattr(layer, "parametrizations"):
                layer.parametrizations.weight[0].requires_grad_(True)  # type: ignore[union-attr, index]
        return learner

    def stored(self, learner: MaskDecoder, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The deltas alone."""
        decoder = copy.deepcopy(learner)
        decoder.load_state_dict(weights)
        return lora_state(decoder)
