"""An expert that is a whole model with an encoder of its own; stored by the checkpoint's names."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar

from torch import Tensor

from sam_moe.errors import WeightsError
from sam_moe.hosts.sam3d.loading import build_model, check_state, read_sizes
from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.registry import ExpertCard
from sam_moe.systems.sam_med3d_moe.experts import Kind
from sam_moe.systems.sam_med3d_moe.experts.decoder import is_bases, is_whole
from sam_moe.weights.report import compare


class Full(Kind):
    """A SAM-Med3D for regions of the base's size (ours); its card has its `architecture`."""

    shows: ClassVar[bool] = True
    own_encoder: ClassVar[bool] = True

    def recognises(self, state: Mapping[str, Tensor], base: SamMed3D) -> bool:
        """Whether tensors are a whole model's of which more than the decoder is its own."""
        return is_whole(state) and not is_bases(state, base)

    def take(
        self, state: Mapping[str, Tensor], base: SamMed3D, settings: Any, where: str
    ) -> dict[str, Tensor]:
        """All tensors, which must be a model's for regions of the base's size."""
        sizes = base.sizes if compare(state, base.state_dict()).ok else read_sizes(state, where)
        check_state(state, sizes, where)
        if sizes.image_size != base.sizes.image_size:
            raise WeightsError(
                f"{where}: sees regions of {sizes.image_size} voxels and its base of "
                f"{base.sizes.image_size}. Name the backbone that it grew on."
            )
        return dict(state)

    def known(self, state: Mapping[str, Tensor], base: SamMed3D, where: str) -> dict[str, Any]:
        """The sizes, as far as shapes show them."""
        sizes = base.sizes if compare(state, base.state_dict()).ok else read_sizes(state, where)
        return {"architecture": asdict(sizes)}

    def check(self, card: ExpertCard, state: Mapping[str, Tensor], where: str) -> None:
        """A model is built of its card's architecture, which may know more than shapes show."""
        assert card.architecture is not None  # the card's own check
        check_state(state, card.architecture, where)

    def build(self, state: Mapping[str, Tensor], base: SamMed3D, card: ExpertCard, where: str) -> SamMed3D:
        """The frozen model.

        Raises:
            WeightsError: for tensors that do not fit, or a model that a base with corners cannot prompt.
        """
        model = build_model(state, card.architecture, where)
        if base.prompt_encoder.knows_boxes and not model.prompt_encoder.knows_boxes:
            raise WeightsError(
                f"{where}: has no corner embeddings, and its base {card.base.id} takes boxes by their "
                "corners. Finetune it from that base."
            )
        return model
