"""The gating network: from what the frozen model made of image and prompt, a logit for each expert."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam_moe.errors import ConfigError
from sam_moe.shapes import Float

GateMode = Literal["both", "image", "prompt"]

_PARTS: dict[GateMode, tuple[str, ...]] = {
    "both": ("pooled", "at_prompt", "prompt"),
    "image": ("pooled",),
    "prompt": ("prompt",),
}


class GateInput(NamedTuple):
    """What a gate looks at, in float32; made once a prompt, so a gate can be trained on a table of these."""

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


class GateColumn(nn.Module):
    """One expert's weights in the gate; they start at zero, undecided."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))
        self.bias = nn.Parameter(torch.zeros(()))


class GatingNetwork(nn.Module):
    """A shared trunk (LayerNorm of each part, one linear layer, GELU) and one column an expert.

    Column 0 is the general expert's. Columns see the trunk's output and its normalised input: the trunk keeps
    only what told apart the experts it was trained for, and a column that comes later needs the rest. Each is
    multiplied and summed by itself, so that its logits keep every bit when columns come or go, where one
    matrix product for all would not promise that (ours, as are layers and sizes: the paper names none).
    `mode` narrows what is seen, as a control: "image" is the pooled embedding alone, "prompt" the prompt's
    tokens alone.
    """

    def __init__(self, features: int, experts: int, hidden: int, mode: GateMode = "both") -> None:
        super().__init__()
        if experts < 1:
            raise ConfigError(f"a gate over {experts} experts cannot be: the general expert is always one.")
        self.mode: GateMode = mode
        self.norms = nn.ModuleDict({part: nn.LayerNorm(features) for part in _PARTS[mode]})
        self.trunk = nn.Linear(len(self.norms) * features, hidden)
        self.columns = nn.ModuleList(GateColumn(self._width) for _ in range(experts))

    @property
    def _width(self) -> int:
        return self.trunk.out_features + self.trunk.in_features

    @property
    def experts(self) -> int:
        """How many experts it chooses among, the general one included."""
        return len(self.columns)

    def forward(self, seen: GateInput) -> Float[Tensor, "b e"]:
        """A logit for each expert, in float32 also under autocast."""
        x = self.hidden(seen)
        weight = torch.stack([column.get_parameter("weight") for column in self.columns])
        bias = torch.stack([column.get_parameter("bias") for column in self.columns])
        return (x[:, None] * weight).sum(dim=-1) + bias

    def hidden(self, seen: GateInput) -> Float[Tensor, "b h"]:
        """What the columns see of a prompt, in float32 also under autocast."""
        with torch.autocast(seen.pooled.device.type, enabled=False):
            x = torch.cat([norm(getattr(seen, part).float()) for part, norm in self.norms.items()], dim=-1)
            return torch.cat([F.gelu(self.trunk(x)), x], dim=-1)

    def freeze(self) -> None:
        """Freeze the trunk and every column there is; columns added later are free."""
        self.requires_grad_(False)

    def add_column(self) -> GateColumn:
        """Append an undecided column for one more expert and return it; fit it before it is asked."""
        column = GateColumn(self._width).to(self.trunk.weight.device)
        self.columns.append(column)
        return column

    def remove_column(self, index: int) -> None:
        """Forget an expert; those behind it move up by one.

        Raises:
            ConfigError: for the general expert's column, and for one that is not there.
        """
        if not 1 <= index < self.experts:
            raise ConfigError(
                f"column {index} of the gate cannot be removed. Expected 1 to {self.experts - 1}: column 0 "
                "is the general expert's, on which all others fall back."
            )
        del self.columns[index]


def parameter_share(gate: nn.Module, backbone: nn.Module) -> float:
    """How many parameters a gate has for each of the backbone's."""
    return _parameters(gate) / _parameters(backbone)


def check_lightweight(gate: nn.Module, backbone: nn.Module, most: float = 0.01) -> None:
    """See that the gate is light beside its backbone.

    Raises:
        ConfigError: where it has more than the share `most` of the backbone's parameters.
    """
    share = parameter_share(gate, backbone)
    if share > most:
        raise ConfigError(
            f"the gate has {_parameters(gate):,} parameters, {share:.1%} of the backbone's "
            f"{_parameters(backbone):,}. At most {most:.0%} is meant: make its `hidden` smaller."
        )


def _parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
