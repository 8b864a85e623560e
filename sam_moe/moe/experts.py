"""Experts by id as parts of a module, whatever letters an id has."""

from collections.abc import ItemsView, Iterator, KeysView, Mapping

from torch import nn

from sam_moe.errors import ConfigError

_DOT, _TAKEN = ":", "="
_PLAIN = nn.ModuleDict()


def key_of(id: str) -> str:
    """The name of an expert in states and in the patterns of phases: its id, with ":" for each dot.

    A dot stands between names of modules; so "experts.liver.*" names nothing of an expert "liver.v2". An id
    that is an attribute of any module, such as "items", is followed by "=".

    Raises:
        ConfigError: for an id that is empty or holds one of these two.
    """
    if not id or _DOT in id or _TAKEN in id:
        raise ConfigError(
            f"expert {id!r}: an id is not empty and holds no {_DOT!r} or {_TAKEN!r}. Rename it."
        )
    key = id.replace(".", _DOT)
    return key + _TAKEN if hasattr(_PLAIN, key) else key


class ExpertDict(nn.ModuleDict):
    """Modules by the ids of experts, in their order; in its state they are named by `key_of`."""

    def __init__(self, experts: Mapping[str, nn.Module]) -> None:
        super().__init__()
        for id, expert in experts.items():
            self[id] = expert

    def __getitem__(self, id: str) -> nn.Module:
        return super().__getitem__(key_of(id))

    def __setitem__(self, id: str, expert: nn.Module) -> None:
        super().__setitem__(key_of(id), expert)

    def __delitem__(self, id: str) -> None:
        super().__delitem__(key_of(id))

    def __contains__(self, id: str) -> bool:
        return id in self.keys()

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def keys(self) -> KeysView[str]:
        """The ids."""
        return dict(self.items()).keys()

    def items(self) -> ItemsView[str, nn.Module]:
        """The ids, each with its module."""
        return {_id_of(key): module for key, module in super().items()}.items()


def _id_of(key: str) -> str:
    return key.removesuffix(_TAKEN).replace(_DOT, ".")
