"""Cards and weights become a model that answers prompts: the only room that knows every other.

The names below are imported when first asked for (PEP 562): who only reads cards starts without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sam_moe.registry.finding import find_card, find_entry
    from sam_moe.systems.sam_med3d_moe.cards.backbone import choose_device, load_backbone
    from sam_moe.systems.sam_med3d_moe.load import DEFAULT_MODEL, find_model, load

__all__ = ["DEFAULT_MODEL", "choose_device", "find_card", "find_entry", "find_model", "load", "load_backbone"]

_HOMES = {
    "DEFAULT_MODEL": "loading",
    "choose_device": "backbone",
    "find_card": "finding",
    "find_entry": "finding",
    "find_model": "loading",
    "load": "loading",
    "load_backbone": "backbone",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"sam_moe.assemble has no {name!r}. Its names: {', '.join(__all__)}.")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
