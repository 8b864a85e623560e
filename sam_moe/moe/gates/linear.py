"""The plain gate: a linear layer on features."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam_moe.moe.gate import Gate, GateColumn, GateShape
from sam_moe.shapes import Float


class Linear(Gate):
    """One linear layer, features `[..., c]` to logits `[..., e]`; several parts are concatenated.

    The gate of M4oE as its paper has it (arXiv 2405.09446) and of Med-MoE (arXiv 2404.10237).
    """

    kind: ClassVar[str] = "linear"

    def __init__(self, shape: GateShape, experts: int) -> None:
        super().__init__(shape, experts)
        width = shape.features * len(shape.parts)
        self.columns = nn.ModuleList(GateColumn(width) for _ in range(experts))

    def hidden(self, seen: Tensor | tuple[Tensor, ...]) -> Float[Tensor, "*rows h"]:
        """The features themselves."""
        parts = self._parts(seen)
        return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=-1)

    def forward(self, seen: Tensor | tuple[Tensor, ...]) -> Float[Tensor, "*rows e"]:
        """A logit for each expert, one matrix-vector product a column: tokens are many."""
        x = self.hidden(seen)
        with torch.autocast(x.device.type, enabled=False):
            columns = [(c.get_parameter("weight"), c.get_parameter("bias")) for c in self.columns]
            return torch.stack(
                [F.linear(x, weight[None], bias[None])[..., 0] for weight, bias in columns], -1
            )
