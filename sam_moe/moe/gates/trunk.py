"""The gate with an inner layer that all columns share."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam_moe.moe.gate import Gate, GateColumn, GateShape
from sam_moe.shapes import Float


class Trunk(Gate):
    """A shared trunk (LayerNorm of each part, one linear layer, GELU) and one column an expert.

    Columns see the trunk's output and its normalised input: the trunk keeps only what separates the experts
    it was trained for, and a column that comes later needs the rest (ours, as are layers and sizes).
    """

    kind: ClassVar[str] = "trunk"

    def __init__(self, shape: GateShape, experts: int) -> None:
        super().__init__(shape, experts)
        self.norms = nn.ModuleDict({part: nn.LayerNorm(shape.features) for part in shape.parts})
        self.trunk = nn.Linear(len(shape.parts) * shape.features, shape.hidden)
        width = self.trunk.out_features + self.trunk.in_features
        self.columns = nn.ModuleList(GateColumn(width) for _ in range(experts))

    def hidden(self, seen: Tensor | tuple[Tensor, ...]) -> Float[Tensor, "*rows h"]:
        """The trunk's output and its normalised input, in float32 also under autocast."""
        parts = self._parts(seen)
        with torch.autocast(parts[0].device.type, enabled=False):
            x = torch.cat([norm(part) for part, norm in zip(parts, self.norms.values(), strict=True)], dim=-1)
            return torch.cat([F.gelu(self.trunk(x)), x], dim=-1)
