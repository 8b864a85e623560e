"""From a card to a model: its backbone, its experts and its gate, as one network with its settings."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from sam_moe.errors import ConfigError
from sam_moe.hosts.sam3d.lowering import BoxStrategy
from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.normalise import Normalisation
from sam_moe.hosts.sam3d.promptable import PromptableSam3D
from sam_moe.processes import choose_device
from sam_moe.registry import Architecture, BackboneCard, Card, Entry, ExpertCard, GateCard, Preprocessing
from sam_moe.registry.finding import as_backbone
from sam_moe.registry.mixture import base_of, find_parts
from sam_moe.systems.sam_med3d_moe.cards.backbone import load_backbone
from sam_moe.systems.sam_med3d_moe.cards.mixture import load_alone, load_mixture
from sam_moe.systems.sam_med3d_moe.model import SamMed3DMoE
from sam_moe.weights.checksums import fingerprint, fingerprint_of


@dataclass(frozen=True)
class LoadedNetwork:
    """A network that answers prompts, with its settings, and how regions are cut for it."""

    network: PromptableSam3D
    preprocessing: Preprocessing


def load(
    entry: Entry[Card], folder: Path | str | None, device: str, box_strategy: str | None
) -> LoadedNetwork:
    """Load what a card describes: a backbone alone, a mixture by its gate, or one expert alone.

    A mixture and each decoder expert embed as their backbone does, so that their embeddings can be shared.
    Arguments and errors are those of `sam_moe.load`.
    """
    base, architecture, make = _planned(entry, folder)
    strategy = _box_strategy(base, architecture, box_strategy)
    chosen = choose_device(device)
    network = _promptable(make().to(chosen), base.preprocessing.normalisation, strategy)
    return LoadedNetwork(network, base.preprocessing)


def _promptable(
    module: SamMed3D | SamMed3DMoE, normalisation: Normalisation, strategy: BoxStrategy
) -> PromptableSam3D:
    """The network with its settings; those with equal encoders share embeddings."""
    if isinstance(module, SamMed3DMoE) and module.keep_images:
        # Its embeddings are of no use to others, nor are theirs to it: they lack the images
        return PromptableSam3D(module, normalisation, strategy)
    backbone = module.backbone if isinstance(module, SamMed3DMoE) else module
    return PromptableSam3D(module, normalisation, strategy, fingerprint(backbone.image_encoder))


def _planned(
    entry: Entry[Card], folder: Path | str | None
) -> tuple[BackboneCard, Architecture, Callable[[], SamMed3D | SamMed3DMoE]]:
    """The card of the backbone, the sizes by which a box may be lowered, and what loads the model."""
    card = entry.card
    if isinstance(card, GateCard):
        parts = find_parts(Entry(card, entry.path), fingerprint_of, folder)
        base = parts.base
        return base.card, base.card.architecture, lambda: load_mixture(parts.gate, folder, parts=parts)
    if isinstance(card, ExpertCard):
        expert = Entry(card, entry.path)
        base = base_of(expert, fingerprint_of, folder)
        return base.card, card.architecture or base.card.architecture, lambda: load_alone(expert, base)
    backbone = as_backbone(entry)
    return backbone.card, backbone.card.architecture, lambda: load_backbone(backbone)


def _box_strategy(card: BackboneCard, architecture: Architecture, name: str | None) -> BoxStrategy:
    known: dict[str, BoxStrategy] = {known: known for known in get_args(BoxStrategy)}
    strategy = known.get(card.default_box_strategy if name is None else name)
    if strategy is None:
        raise ConfigError(f"box strategy {name!r} is unknown. Known: {', '.join(known)}.")
    if strategy == "corners" and not architecture.corner_embeddings:
        raise ConfigError(
            f"box strategy 'corners' needs weights with corner embeddings, and {card.id} has none. "
            "Use 'mask' or 'center'."
        )
    return strategy
