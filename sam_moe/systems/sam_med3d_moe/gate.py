"""What SAM-Med3D-MoE's gate is given of an image and a prompt, and the gate as its card describes it."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from sam_moe.moe.gate import Gate, GateShape
from sam_moe.moe.gates._making import make_gate
from sam_moe.registry import GateMode, GateSizes
from sam_moe.registry.gate import DEFAULT_GATE
from sam_moe.shapes import Float

_PARTS: dict[GateMode, tuple[str, ...]] = {
    "both": ("pooled", "at_prompt", "prompt"),
    "image": ("pooled",),
    "prompt": ("prompt",),
}


class GateInput(NamedTuple):
    """What a gate is given, in float32; made once a prompt, so a gate can be trained on a table of these."""

    pooled: Float[Tensor, "b c"]
    at_prompt: Float[Tensor, "b c"]
    prompt: Float[Tensor, "b c"]


def gate_input(
    embedding: Float[Tensor, "b c g g g"], sparse: Float[Tensor, "b n c"], places: Float[Tensor, "b n 3"]
) -> GateInput:
    """Pool an embedding everywhere and where the prompt points, and the prompt's tokens.

    SAM-Med3D-MoE (arXiv 2407.04938) gives its gate image and prompt embeddings and says no more; looking at
    the image where the prompt points is ours. `places` are shares of the region's edge along the embedding's
    axes; NaN marks a token without a place. Sampled is trilinearly, from the edge where a place lies within
    half a cell of it; without any place `at_prompt` is `pooled`, without tokens `prompt` is zeros.
    """
    embedding, sparse = embedding.float(), sparse.float()
    pooled = embedding.mean(dim=(2, 3, 4))
    # Few operations, because each costs a click what its call costs
    known = places.sum(dim=-1).isfinite()
    at = places.nan_to_num(0.5).to(embedding).mul(2).sub(1)
    at = at.flip(-1)[:, :, None, None]  # grid_sample wants the last axis of the tensor first
    there = F.grid_sample(embedding, at, padding_mode="border", align_corners=False)[..., 0, 0]
    share = known[:, None].to(embedding)
    count = share.sum(dim=-1)
    sampled = (there * share).sum(dim=-1) / count
    prompt = sparse.mean(dim=1) if sparse.shape[1] else torch.zeros_like(pooled)
    return GateInput(pooled, sampled.where(count > 0, pooled), prompt)


def gating_network(
    features: int, experts: int, hidden: int, mode: GateMode = "both", kind: str = DEFAULT_GATE
) -> Gate:
    """A gate with initial weights, over the general expert and the others.

    `mode` narrows what is seen, as a control: "image" is the pooled embedding alone, "prompt" the prompt's
    tokens alone. The paper names no layers and no sizes; the kind "trunk" is ours.

    Raises:
        ConfigError: as `make_gate`.
    """
    return make_gate(kind, GateShape(features, hidden, _PARTS[mode]), experts)


def gate_of(sizes: GateSizes) -> Gate:
    """The gate that a card describes, with initial weights.

    Raises:
        ConfigError: as `make_gate`.
    """
    kind = sizes.kind or DEFAULT_GATE
    return gating_network(sizes.features, sizes.columns, sizes.hidden or 0, sizes.mode, kind)


def sizes_of_gate(gate: Gate) -> GateSizes:
    """How a card describes a gate."""
    shape, kind = gate.shape, None if gate.kind == DEFAULT_GATE else gate.kind
    mode = next(mode for mode, parts in _PARTS.items() if parts == shape.parts)
    hidden, columns = shape.hidden or None, gate.experts
    return GateSizes(features=shape.features, hidden=hidden, columns=columns, mode=mode, kind=kind)
