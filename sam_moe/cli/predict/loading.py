"""A model for a verb, with what the manifest wants to know about it."""

from collections.abc import Sequence

from sam_moe.assemble.load import load
from sam_moe.cli.predict.prompt_options import lowering_of
from sam_moe.predict.files.command import LoadedModel
from sam_moe.processes import share_threads
from sam_moe.registry import CARD, Card, Entry, read_card
from sam_moe.registry.finding import DEFAULT_MODEL, find_model, user_folder


def loaded(
    model: str | None,
    device: str,
    box_strategy: str | None,
    dtype: str = "float32",
    lower: Sequence[str] = (),
) -> LoadedModel:
    """Load a model, mixture or expert by id, card or folder, fetching a public one on first use."""
    share_threads()
    rules = lowering_of(lower)
    entry = find_model(model or DEFAULT_MODEL)
    chosen = load(entry.path, device=device, box_strategy=box_strategy, dtype=dtype, lowering=rules)
    return LoadedModel(chosen, weights_sha256(entry))


def weights_sha256(entry: Entry[Card]) -> str | None:
    """The checksum of a card's weights: a gate's, which names its parts' in turn, stands for a mixture.

    Of a public model those it was converted to, None before that.
    """
    weights, kept = entry.card.weights, user_folder() / entry.card.id / CARD
    if weights is None and kept.is_file():
        weights = read_card(kept).weights
    return weights.sha256 if weights else None
