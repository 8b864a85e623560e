"""Gates: a logit for each expert from what the host made of its input, in columns that come and go."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from sam_moe.errors import ConfigError
from sam_moe.shapes import Float


@dataclass(frozen=True)
class GateShape:
    """The sizes of a gate.

    Args:
        features: width of each part that it is given.
        hidden: width of its inner layer, for kinds that have one.
        parts: names of its parts; one alone may be given as a plain tensor, several as a named tuple.
    """

    features: int
    hidden: int = 0
    parts: tuple[str, ...] = ("features",)


class GateColumn(nn.Module):
    """One expert's weights in the gate; they start at zero, undecided."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))
        self.bias = nn.Parameter(torch.zeros(()))


class Gate(nn.Module):
    """Scores experts: one column an expert, column 0 the general expert's where there is one.

    A kind of gate is a module of `gates/`: a class made of a `GateShape` and the number of experts, with its
    own `columns`, and `hidden`, which is what they see; its `kind` is the name by which cards find it. Each
    column is multiplied and summed by itself, so that its logits keep every bit when others come or go, where
    one matrix product for all would not promise that (ours).
    """

    kind: ClassVar[str]
    columns: nn.ModuleList

    def __init__(self, shape: GateShape, experts: int) -> None:
        super().__init__()
        if experts < 1:
            raise ConfigError(f"a gate over {experts} experts scores none. Expected 1 or more.")
        self.shape = shape

    def hidden(self, seen: Tensor | tuple[Tensor, ...]) -> Float[Tensor, "*rows h"]:
        """What the columns see, in the dtype of the gate's weights also under autocast."""
        raise NotImplementedError

    def forward(self, seen: Tensor | tuple[Tensor, ...]) -> Float[Tensor, "*rows e"]:
        """A logit for each expert, in the dtype of the gate's weights also under autocast."""
        x = self.hidden(seen)
        weight = torch.stack([column.get_parameter("weight") for column in self.columns])
        bias = torch.stack([column.get_parameter("bias") for column in self.columns])
        return (x[..., None, :] * weight).sum(dim=-1) + bias

    @property
    def experts(self) -> int:
        """How many experts it chooses among, the general one included."""
        return len(self.columns)

    def add_column(self) -> GateColumn:
        """Append an undecided column for one more expert and return it; fit it before it is asked."""
        column = GateColumn(self._width).to(self.columns[0].get_parameter("weight"))
        self.columns.append(column)
        return column

    def remove_column(self, index: int) -> None:
        """Forget an expert; those behind it move up by one.

        Column 0 stays: it is the general expert's, where there is one.

        Raises:
            ConfigError: for column 0, and for one that is not there.
        """
        if not 1 <= index < self.experts:
            raise ConfigError(
                f"column {index} of the gate cannot be removed. Expected 1 to {self.experts - 1}: column 0 "
                "stays; it is the general expert's, where there is one."
            )
        del self.columns[index]

    @property
    def _width(self) -> int:
        """What one column sees."""
        return len(self.columns[0].get_parameter("weight"))

    def _parts(self, seen: Tensor | tuple[Tensor, ...]) -> Sequence[Float[Tensor, "*rows c"]]:
        """The parts by the names in the gate's shape, in its weights' dtype."""
        parts = [seen] if isinstance(seen, Tensor) else [getattr(seen, part) for part in self.shape.parts]
        return [part.to(self.columns[0].get_parameter("weight").dtype) for part in parts]


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
