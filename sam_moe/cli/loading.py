"""A model for a verb, with what the manifest wants to know about it."""

from sam_moe.assemble import DEFAULT_MODEL, find_entry, load
from sam_moe.assemble.convert import user_folder
from sam_moe.predict.command import Loaded
from sam_moe.registry import CARD, BackboneCard, Entry, read_card


def loaded(model: str | None, device: str, box_strategy: str | None) -> Loaded:
    """Load a model by id, card or folder, fetching a public one on first use."""
    entry = find_entry(model or DEFAULT_MODEL)
    predictor = load(entry.path, device=device, box_strategy=box_strategy)
    return Loaded(predictor, weights_sha256(entry))


def weights_sha256(entry: Entry[BackboneCard]) -> str | None:
    """The checksum of a card's weights; of a public model's those it was converted to, None before that."""
    weights, kept = entry.card.weights, user_folder() / entry.card.id / CARD
    if weights is None and kept.is_file():
        weights = read_card(kept).weights
    return weights.sha256 if weights else None
