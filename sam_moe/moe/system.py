"""What every system of experts offers, whichever paper it follows: sites, experts, phases and answers."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from sam_moe.errors import ConfigError
from sam_moe.moe.experts import key_of
from sam_moe.moe.names import Granularity
from sam_moe.moe.routing import Routing
from sam_moe.moe.selection import SelectionRule


@runtime_checkable
class Site(Protocol):
    """A place in a host network where experts answer."""

    @property
    def granularity(self) -> Granularity:
        """What is routed by itself there."""

    @property
    def ids(self) -> tuple[str, ...]:
        """The experts, in the order of the gate's columns."""

    @property
    def gate(self) -> nn.Module:
        """What scores them."""

    @property
    def rule(self) -> SelectionRule:
        """What selects among them."""


@dataclass(frozen=True)
class Phase:
    """A stretch of training: which tensors learn in it; all others keep every bit.

    Args:
        name: as its recipe and its command call it.
        learns: patterns of names as `tensors_of` gives them, such as "gate.*" or "experts.liver.*";
            an expert's id as `key_of` writes it, so that the pattern fits no other expert.
        rule: the selection rule of the phase as text, "forced:index=1" say; empty for the system's own.
        keeps: patterns of what stays although `learns` fits it: what the phase's training never uses.
    """

    name: str
    learns: tuple[str, ...]
    rule: str = ""
    keeps: tuple[str, ...] = ()

    def names(self, tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
        """Those of the tensors that learn.

        Raises:
            ConfigError: for a pattern that fits none.
        """
        for pattern in self.learns:
            if not any(fnmatchcase(name, pattern) for name in tensors):
                raise ConfigError(
                    f"phase {self.name!r}: nothing is named {pattern!r}, so that it could learn. Correct the "
                    "pattern; `tensors_of(system)` has the names."
                )
        return tuple(
            name
            for name in tensors
            if any(fnmatchcase(name, p) for p in self.learns)
            and not any(fnmatchcase(name, p) for p in self.keeps)
        )


@runtime_checkable
class System(Protocol):
    """A host network with experts at its sites; all keep the contract of `tests/systems/contract.py`."""

    def sites(self) -> Mapping[str, Site]:
        """Where experts answer, by a name each."""

    def experts(self) -> Mapping[str, nn.Module]:
        """The experts by id, in the gate's order; one that is not in memory is made when looked up."""

    def phases(self) -> tuple[Phase, ...]:
        """Which tensors learn when, in the order of training."""

    def forward(self, batch: Any) -> tuple[Tensor, Mapping[str, Routing]]:
        """The answers to a batch, and by the name of each site how they were routed there."""


def tensors_of(system: System) -> dict[str, Tensor]:
    """Every parameter and buffer by one name: a module's as its state names it, else "experts.<id>.<name>".

    The second holds for experts that are no part of the system's module, as those of a bank; the id is
    written as `key_of` does.
    """
    found: dict[str, Tensor] = {}
    if isinstance(system, nn.Module):
        found.update(system.named_parameters())
        found.update(system.named_buffers())
    known = {id(tensor) for tensor in found.values()}
    for expert, module in system.experts().items():
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            if id(tensor) not in known:
                found[f"experts.{key_of(expert)}.{name}"] = tensor
    return found


@contextmanager
def learning(system: System, phase: Phase) -> Iterator[dict[str, nn.Parameter]]:
    """Let a phase's parameters learn, and no other, for the time of a block; gives them by name.

    Raises:
        ConfigError: for a pattern of the phase that fits nothing.
    """
    tensors = tensors_of(system)
    names = set(phase.names(tensors))
    parameters = {name: t for name, t in tensors.items() if isinstance(t, nn.Parameter)}
    before = {name: parameter.requires_grad for name, parameter in parameters.items()}
    try:
        for name, parameter in parameters.items():
            parameter.requires_grad_(name in names)
        yield {name: parameter for name, parameter in parameters.items() if name in names}
    finally:
        for name, parameter in parameters.items():
            parameter.requires_grad_(before[name])
