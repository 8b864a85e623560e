"""`sam_moe.load`: the id of a card in, a predictor out."""

from pathlib import Path
from typing import get_args

from sam_moe.assemble.backbone import choose_device, find_entry, load_backbone
from sam_moe.errors import ConfigError
from sam_moe.predict.predictor import Predictor
from sam_moe.registry import BackboneCard
from sam_moe.sam3d.lowering import BoxStrategy
from sam_moe.sam3d.weights import fingerprint

DEFAULT_MODEL = "tiny"


def load(
    model_id: str | Path | None = None,
    *,
    folder: Path | str | None = None,
    device: str = "auto",
    box_strategy: str | None = None,
) -> Predictor:
    """Load a model that answers points and boxes.

    The first use of a public model fetches and converts it; later ones need no network.

    Args:
        model_id: id of a card, or the path of a card or of its folder; by default the small one that ships.
        folder: where to look the id up, instead of the shipped cards and those in the user's folder.
        device: "auto" takes a CUDA device where there is one; else what torch calls it.
        box_strategy: how a box is lowered; by default what the card says.

    Raises:
        CardError: for an unknown id, the known ones listed, or a bad card.
        WeightsError: for weights that are not what the card says, or cannot be fetched.
    """
    entry = find_entry(DEFAULT_MODEL if model_id is None else model_id, folder)
    strategy = _box_strategy(entry.card, box_strategy)
    chosen = choose_device(device)
    model = load_backbone(entry)
    return Predictor(
        model.to(chosen),
        entry.card.preprocessing,
        model_id=entry.card.id,
        encoder_fingerprint=fingerprint(model.image_encoder),
        box_strategy=strategy,
        device=chosen,
    )


def _box_strategy(card: BackboneCard, asked: str | None) -> BoxStrategy:
    known: dict[str, BoxStrategy] = {name: name for name in get_args(BoxStrategy)}
    strategy = known.get(card.default_box_strategy if asked is None else asked)
    if strategy is None:
        raise ConfigError(f"box strategy {asked!r} is unknown. Known: {', '.join(known)}.")
    if strategy == "corners" and not card.architecture.corner_embeddings:
        raise ConfigError(
            f"box strategy 'corners' needs weights with corner embeddings, and {card.id} has none. "
            "Use 'mask' or 'center'."
        )
    return strategy
