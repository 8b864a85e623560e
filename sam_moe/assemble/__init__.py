"""Cards and weights become a model that answers prompts: the only room that knows every other."""

from sam_moe.assemble.backbone import choose_device, find_card, find_entry, load_backbone
from sam_moe.assemble.load import DEFAULT_MODEL, find_model, load

__all__ = ["DEFAULT_MODEL", "choose_device", "find_card", "find_entry", "find_model", "load", "load_backbone"]
