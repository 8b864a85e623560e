"""What a file of someone's weights is to a backbone: a decoder, low-rank deltas on its decoder, or a model.

Stored experts keep the checkpoint's names: `mask_decoder.…` for a decoder, all names for a full model;
deltas are `<layer of the decoder>.up` and `.down`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from sam_moe.errors import CardError, WeightsError
from sam_moe.hosts.sam3d.loading import check_state, read_sizes
from sam_moe.hosts.sam3d.lora import load_lora, merge
from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.network.mask_decoder import MaskDecoder
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.registry import ExpertKind, Lora
from sam_moe.systems.sam_med3d_moe.peft import is_adapters, own_names
from sam_moe.weights.report import compare

DECODER = "mask_decoder."


@dataclass(frozen=True)
class Taken:
    """The tensors that make an expert, and which kind it is; `sizes` only where it has its own encoder."""

    kind: ExpertKind
    state: dict[str, Tensor]
    sizes: Sizes | None = None

    def known(self) -> dict[str, Any]:
        """What the weights tell of the card."""
        architecture = {} if self.sizes is None else {"architecture": asdict(self.sizes)}
        return {"expert_kind": self.kind, **architecture}


def take(state: Mapping[str, Tensor], base: SamMed3D, where: str) -> Taken:
    """Take an expert out of a checkpoint: the decoder alone where all else is the base's.

    Names may be a whole model's, a decoder's with `mask_decoder.` before them, or a decoder's without.

    Raises:
        WeightsError: with the report of what is missing or too much, or for regions of another size.
    """
    if any(is_adapters(name) for name in state):
        raise WeightsError(
            f"{where}: holds low-rank deltas (lora_A, lora_B), and not how they are scaled. Give the "
            "adapter's folder with its adapter_config.json; or let the card say expert_kind 'lora' and lora: "
            '{"rank": 8, "alpha": 16}, with the numbers of the training.'
        )
    if any(name.startswith("image_encoder.") for name in state):
        return _from_whole(state, base, where)
    named = {name if _is_decoders(name) else DECODER + name: tensor for name, tensor in state.items()}
    expected = {DECODER + name: tensor for name, tensor in base.mask_decoder.state_dict().items()}
    report = compare(named, expected)
    if not report.ok:
        raise WeightsError(f"{where}: does not fit the decoder of its base: {report}")
    return Taken("decoder", named)


def take_lora(state: Mapping[str, Tensor], base: SamMed3D, lora: Lora, where: str) -> Taken:
    """Take low-rank deltas as `sam3d.lora.lora_state` or PEFT names them, of the ranks that the card has.

    Raises:
        WeightsError: naming the tensor that belongs to no layer of the base, or whose rank is another.
    """
    state = own_names(state, where)
    try:
        load_lora(base.mask_decoder, state, lora.alpha)
    except WeightsError as error:
        raise WeightsError(f"{where}: {error}") from error
    found = {name.removesuffix(".down"): len(tensor) for name, tensor in state.items() if _is_down(name)}
    for layer, rank in found.items():
        if rank != (said := lora.per_layer.get(layer, lora.rank)):
            raise WeightsError(
                f"{where}: the delta of {layer} has rank {rank}, and the card says {said}. Correct lora.rank "
                "or lora.per_layer."
            )
    if lost := sorted(set(lora.per_layer) - set(found)):
        raise WeightsError(f"{where}: has no deltas of {', '.join(lost)}, though lora.per_layer names them.")
    return Taken("lora", state)


def decoder_of(state: Mapping[str, Tensor], base: SamMed3D, where: str) -> MaskDecoder:
    """A frozen decoder in fp32 from an expert's tensors, of the base's sizes; the base is not touched."""
    taken = take(state, base, where)
    if taken.kind != "decoder":
        raise CardError(f"{where}: holds a whole model with its own encoder, not a decoder for this base.")
    with torch.device("meta"):
        decoder = MaskDecoder(base.sizes)
    owned = {
        name.removeprefix(DECODER): tensor.to(torch.float32, copy=True)
        for name, tensor in taken.state.items()
    }
    decoder.load_state_dict(owned, strict=True, assign=True)
    return decoder.eval().requires_grad_(False)


def merged_lora(state: Mapping[str, Tensor], base: SamMed3D, lora: Lora, where: str) -> MaskDecoder:
    """A frozen decoder: a copy of the base's, with stored deltas written into its weights."""
    take_lora(state, base, lora, where)
    return merge(load_lora(base.mask_decoder, state, lora.alpha)).eval().requires_grad_(False)


def _from_whole(state: Mapping[str, Tensor], base: SamMed3D, where: str) -> Taken:
    expected = base.state_dict()
    fits = compare(state, expected).ok
    if fits and all(
        _same(state[name], tensor) for name, tensor in expected.items() if not _is_decoders(name)
    ):
        return Taken("decoder", {name: tensor for name, tensor in state.items() if _is_decoders(name)})
    sizes = base.sizes if fits else read_sizes(state, where)
    check_state(state, sizes, where)
    if sizes.image_size != base.sizes.image_size:
        raise WeightsError(
            f"{where}: sees regions of {sizes.image_size} voxels and its base of {base.sizes.image_size}. "
            "Name the backbone that it grew on."
        )
    return Taken("full", dict(state), sizes)


def _is_down(name: str) -> bool:
    return name.endswith(".down")


def _is_decoders(name: str) -> bool:
    return name.startswith(DECODER)


def _same(found: Tensor, base: Tensor) -> bool:
    """Whether a tensor is the base's, as far as the precision it was stored in can tell."""
    return torch.equal(found.to(base.dtype), base.to(found.dtype).to(base.dtype))
