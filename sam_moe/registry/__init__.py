"""Cards of models: where weights lie, what was measured, whose they are; no torch."""

from sam_moe.registry.automatic import (
    AutomaticCard,
    DataSet,
    ExpertMixture,
    HostSizes,
    Intensity,
    Label,
    Refine,
)
from sam_moe.registry.backbone import BackboneCard
from sam_moe.registry.expert import Base, Cover, ExpertCard, LoraRanks
from sam_moe.registry.folder import (
    FOLDER_VARIABLE,
    Entry,
    Registry,
    check_weights,
    default_folder,
    read_entry,
    shipped,
)
from sam_moe.registry.gate import CurvePoint, ExpertRef, GateCard, GateMode, GateSizes
from sam_moe.registry.licences import most_restrictive
from sam_moe.registry.parts import (
    CARD,
    FORMAT,
    Architecture,
    Attribution,
    Hub,
    MadeBy,
    Measurement,
    Positive,
    Preprocessing,
    Sha256,
    Weights,
    same_file,
)
from sam_moe.registry.plugins import GROUP, Plugin, plugins
from sam_moe.registry.reading import Card, Draft, PromptableCard, read_card, read_draft, write_card

__all__ = [
    "CARD",
    "FOLDER_VARIABLE",
    "FORMAT",
    "GROUP",
    "Architecture",
    "Attribution",
    "AutomaticCard",
    "BackboneCard",
    "Base",
    "Card",
    "Cover",
    "CurvePoint",
    "DataSet",
    "Draft",
    "Entry",
    "ExpertCard",
    "ExpertMixture",
    "ExpertRef",
    "GateCard",
    "GateMode",
    "GateSizes",
    "HostSizes",
    "Hub",
    "Intensity",
    "Label",
    "LoraRanks",
    "MadeBy",
    "Measurement",
    "Plugin",
    "Positive",
    "Preprocessing",
    "PromptableCard",
    "Refine",
    "Registry",
    "Sha256",
    "Weights",
    "check_weights",
    "default_folder",
    "most_restrictive",
    "plugins",
    "read_card",
    "read_draft",
    "read_entry",
    "same_file",
    "shipped",
    "write_card",
]
