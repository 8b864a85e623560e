"""Cards and weights become a model that answers prompts: the only room that knows every other."""

from sam_moe.assemble.backbone import choose_device, find_entry, load_backbone
from sam_moe.assemble.load import DEFAULT_MODEL, load

__all__ = ["DEFAULT_MODEL", "choose_device", "find_entry", "load", "load_backbone"]
