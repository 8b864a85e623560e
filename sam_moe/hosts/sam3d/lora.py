"""Low-rank deltas on a mask decoder: a small expert, and merged as quick as any other."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from sam_moe.errors import WeightsError
from sam_moe.hosts.sam3d.heads import UNASKED
from sam_moe.hosts.sam3d.network.mask_decoder import MaskDecoder
from sam_moe.shapes import Float
from sam_moe.weights.report import with_nearest


class LowRank(nn.Module):
    """A weight plus `scale * up @ down`, the weight seen as a matrix (LoRA, arXiv 2106.09685).

    A transposed convolution's weight (in, out, 2, 2, 2) is a matrix of `in` rows, because with kernel =
    stride it is a linear layer onto 8 children (ours). `up` starts at zero: the weight keeps its bits.
    """

    def __init__(self, weight: Tensor, rank: int, scale: float) -> None:
        super().__init__()
        rows, columns = weight.flatten(1).shape
        self.up = nn.Parameter(weight.new_zeros(rows, rank))
        self.down = nn.Parameter(torch.randn_like(weight.new_empty(rank, columns)) * columns**-0.5)
        self.scale = scale

    def forward(self, weight: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The weight with its delta."""
        return weight + (self.scale * (self.up @ self.down)).view_as(weight)


def lora_layers(decoder: MaskDecoder) -> dict[str, nn.Module]:
    """The layers that can carry a delta, by name: all linear ones and both transposed convolutions."""
    return {name: m for name, m in decoder.named_modules() if isinstance(m, nn.Linear | nn.ConvTranspose3d)}


def lora_ranks(decoder: MaskDecoder, rank: int, per_layer: Mapping[str, int] | None = None) -> dict[str, int]:
    """One rank for all layers that take part in the trained mask output; others for those in `per_layer`."""
    trained = {name: rank for name in lora_layers(decoder) if not name.startswith(UNASKED)}
    return trained | dict(per_layer or {})


def add_lora(decoder: MaskDecoder, ranks: int | Mapping[str, int], alpha: float | None = None) -> MaskDecoder:
    """Copy a decoder, freeze the copy and give its layers deltas, which alone learn; they start at nothing.

    `ranks` by name of a layer, or one number for all that take part in the trained mask output: masks 1 to 3
    and the IoU head do not. A delta is scaled by `alpha` over its rank, without `alpha` by 1.

    Raises:
        WeightsError: for a layer that the decoder does not have, or a rank below 1.
    """
    tuned = copy.deepcopy(decoder).requires_grad_(False)
    layers = lora_layers(tuned)
    if isinstance(ranks, int):
        ranks = lora_ranks(decoder, ranks)
    for name, rank in ranks.items():
        if name not in layers:
            raise WeightsError(f"no low-rank delta for {with_nearest(name, tuple(layers))}: no such layer.")
        if rank < 1:
            raise WeightsError(f"rank {rank} for {name} is no delta. Expected 1 or more, or leave it out.")
        layer = layers[name]
        assert isinstance(layer, nn.Linear | nn.ConvTranspose3d)
        delta = LowRank(layer.weight, rank, 1.0 if alpha is None else alpha / rank)
        parametrize.register_parametrization(layer, "weight", delta)
    return tuned


def lora_state(decoder: MaskDecoder) -> dict[str, Tensor]:
    """The deltas alone, as `<layer>.up` and `<layer>.down`: what a card of kind `lora` stores."""
    deltas = ((name, _delta(layer)) for name, layer in lora_layers(decoder).items())
    return {
        f"{name}.{part}": getattr(delta, part).detach().clone()
        for name, delta in deltas
        if delta is not None
        for part in ("up", "down")
    }


def load_lora(decoder: MaskDecoder, state: Mapping[str, Tensor], alpha: float | None = None) -> MaskDecoder:
    """Copy a decoder and give it stored deltas, frozen; the ranks are read off their shapes.

    Raises:
        WeightsError: where a tensor is missing, of another decoder or of no delta.
    """
    for name in state:
        layer, _, part = name.rpartition(".")
        other = f"{layer}.{'down' if part == 'up' else 'up'}"
        if part not in ("up", "down") or other not in state:
            raise WeightsError(f"{name}: is not half of a delta. Expected pairs <layer>.up and <layer>.down.")
    ranks = {name.removesuffix(".down"): len(t) for name, t in state.items() if name.endswith(".down")}
    tuned = add_lora(decoder, ranks, alpha)
    for name, tensor in lora_state(tuned).items():
        if tensor.shape != state[name].shape:
            raise WeightsError(
                f"{name} has shape {tuple(state[name].shape)}, this decoder needs {tuple(tensor.shape)}. "
                "The delta was made for another backbone."
            )
    for name, carrier in lora_layers(tuned).items():
        delta = _delta(carrier)
        if delta is not None:
            delta.load_state_dict({part: state[f"{name}.{part}"] for part in ("up", "down")})
    return tuned.requires_grad_(False)


def merge(decoder: MaskDecoder) -> MaskDecoder:
    """Write the deltas into the weights, in place: a plain decoder again, with the same answers."""
    for layer in lora_layers(decoder).values():
        if _delta(layer) is not None:
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    return decoder


def _delta(layer: nn.Module) -> LowRank | None:
    if not parametrize.is_parametrized(layer, "weight"):
        return None
    (delta,) = layer.parametrizations["weight"]  # type: ignore[index]
    assert isinstance(delta, LowRank)
    return delta
