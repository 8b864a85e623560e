"""A gate by the name of its kind."""

from typing import Any

from sam_moe.errors import ConfigError
from sam_moe.moe.gate import Gate, GateShape
from sam_moe.moe.gates import GATES


def make_gate(kind: str, shape: GateShape, experts: int) -> Gate:
    """A gate of the kind of a name, with initial weights.

    Raises:
        ConfigError: for an unknown kind, as `check_kind`, and for a gate over no expert.
    """
    return check_kind(kind, GATES.load(kind))(shape, experts)


def check_kind(name: str, found: Any) -> type[Gate]:
    """What is offered as a kind of gate, if it is one and a card would name it so.

    Raises:
        ConfigError: for what is no gate, and for one that names itself otherwise or not at all.
    """
    if not (isinstance(found, type) and issubclass(found, Gate)):
        raise ConfigError(
            f"kind of gate {name!r} is {found!r}. Expected a subclass of `sam_moe.moe.gate.Gate`."
        )
    own = getattr(found, "kind", None)
    if own != name:
        raise ConfigError(
            f"kind of gate {name!r} is class {found.__name__}, which names itself {own!r}. Expected one "
            f"name, by which its card finds it again: set `kind = {name!r}` in a class of its own."
        )
    return found
