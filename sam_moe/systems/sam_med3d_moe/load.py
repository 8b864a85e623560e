"""`sam_moe.load`: the id of a card in, a model out whose `open` begins a session on a scan."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import torch

from sam_moe.errors import CardError, ConfigError
from sam_moe.hosts.sam3d.lowering import BoxStrategy
from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.weights import fingerprint
from sam_moe.predict.model import Model
from sam_moe.prompts.lowering import Lowering
from sam_moe.registry import Architecture, BackboneCard, Card, Entry, ExpertCard, GateCard, plugins
from sam_moe.registry.finding import as_backbone, find_card
from sam_moe.systems.sam_med3d_moe.cards.backbone import choose_device, load_backbone
from sam_moe.systems.sam_med3d_moe.cards.mixture import load_alone, load_mixture
from sam_moe.systems.sam_med3d_moe.cards.parts import base_of, find_parts
from sam_moe.systems.sam_med3d_moe.model import SamMed3DMoE

DEFAULT_MODEL = "small"

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def load(
    model_id: str | Path | None = None,
    *,
    folder: Path | str | None = None,
    device: str = "auto",
    box_strategy: str | None = None,
    dtype: str = "float32",
    lowering: Lowering | None = None,
) -> Model:
    """Load a model that answers points and boxes: a general one, a mixture by its gate, or one expert alone.

    The model is immutable, and threads can share it; `model.open(scan)` begins a session on one scan, as many
    at a time as are wanted. The first use of a public model fetches and converts it; later ones need no
    network.
    A mixture and each decoder expert embed as their backbone does, so an `EmbeddingCache` can serve them all.

    Args:
        model_id: id of a card, or the path of a card or of its folder; by default the small one that ships.
        folder: where to look the id up, instead of the shipped cards and those in the user's folder.
        device: "auto" takes a CUDA device where there is one; else what torch calls it.
        box_strategy: how a box is lowered; by default what the backbone's card says.
        lowering: how flat boxes, strokes and loops are lowered to points and boxes; by default as measured.
        dtype: of the encoder's products: "bfloat16" is quicker where the machine has matrix units for it, and
            much slower where it has not; clicks are answered in float32 always.

    Raises:
        CardError: for an unknown id, the known ones listed, a bad card, or a part that is missing.
        WeightsError: for weights that are not what the card says, or cannot be fetched.
        ConfigError: for an unknown dtype or box strategy, one that the weights cannot do, or a device that
            this machine has not.
    """
    if dtype not in _DTYPES:
        raise ConfigError(f"dtype {dtype!r} is unknown. Known: {', '.join(_DTYPES)}.")
    entry = find_model(DEFAULT_MODEL if model_id is None else model_id, folder)
    base, architecture, make = _planned(entry, folder)
    strategy = _box_strategy(base, architecture, box_strategy)
    chosen = choose_device(device)
    network = make()
    model = Model(
        network.to(chosen),
        base.preprocessing,
        strategy,
        entry.card.id,
        card=entry.card,
        lowering=lowering or Lowering(),
        device=chosen,
        dtype=_DTYPES[dtype],
    )
    if isinstance(network, SamMed3DMoE) and network.keep_images:
        return model  # its embeddings are of no use to others, nor are theirs to it: they lack the images
    encoder = network.backbone.image_encoder if isinstance(network, SamMed3DMoE) else network.image_encoder
    return replace(model, encoder_fingerprint=fingerprint(encoder))


def find_model(model: str | Path, folder: Path | str | None = None) -> Entry[Card]:
    """Find a card that `load` takes, by id also in other packages' folders.

    Raises:
        CardError: naming the known ids, the nearest first.
    """
    try:
        return find_card(model, folder)
    except CardError:
        offered = (entry for plugin in plugins() for entry in plugin.registry().list())
        found = next((entry for entry in offered if entry.card.id == model), None)
        if found is None or folder is not None:
            raise
        return found


def _planned(
    entry: Entry[Card], folder: Path | str | None
) -> tuple[BackboneCard, Architecture, Callable[[], SamMed3D | SamMed3DMoE]]:
    """The card of the backbone, the sizes by which a box may be lowered, and what loads the model."""
    card = entry.card
    if isinstance(card, GateCard):
        parts = find_parts(Entry(card, entry.path), folder)
        base = parts.base
        return base.card, base.card.architecture, lambda: load_mixture(parts.gate, folder, parts=parts)
    if isinstance(card, ExpertCard):
        expert = Entry(card, entry.path)
        base = base_of(expert, folder)
        return base.card, card.architecture or base.card.architecture, lambda: load_alone(expert, base)
    backbone = as_backbone(entry)
    return backbone.card, backbone.card.architecture, lambda: load_backbone(backbone)


def _box_strategy(card: BackboneCard, architecture: Architecture, asked: str | None) -> BoxStrategy:
    known: dict[str, BoxStrategy] = {name: name for name in get_args(BoxStrategy)}
    strategy = known.get(card.default_box_strategy if asked is None else asked)
    if strategy is None:
        raise ConfigError(f"box strategy {asked!r} is unknown. Known: {', '.join(known)}.")
    if strategy == "corners" and not architecture.corner_embeddings:
        raise ConfigError(
            f"box strategy 'corners' needs weights with corner embeddings, and {card.id} has none. "
            "Use 'mask' or 'center'."
        )
    return strategy
