"""A model's card as `sam-moe checkpoints show` prints it."""

from dataclasses import asdict

from sam_moe.cli.models.automatic_pages import page as automatic_page
from sam_moe.cli.models.card_text import credits, facts, in_words, measured, wrapped
from sam_moe.cli.models.gate_pages import page as gate_page
from sam_moe.cli.models.model_list import Checkpoint
from sam_moe.registry import AutomaticCard, GateCard


def page(item: Checkpoint) -> str:
    """A card as a person reads it."""
    card = item.entry.card
    if isinstance(card, GateCard):
        return gate_page(card, item)
    if isinstance(card, AutomaticCard):
        return automatic_page(card, item)
    lines = [f"{card.id}: {card.title}", *wrapped(card.description), ""]
    known = {
        "weights": f"{item.state}, {item.size}, {item.weights.dtype}" if item.weights else item.state,
        "sha256": item.weights.sha256 if item.weights else None,
        "public file": f"{card.hub.repo_id}/{card.hub.filename}" if card.hub else None,
        "architecture": in_words(asdict(card.architecture)),
        "preprocessing": in_words(card.preprocessing.model_dump()),
        "boxes by": card.default_box_strategy,
        "licence": card.licence,
        "made by": card.made_by.command if card.made_by else None,
        "not for": card.not_for,
        "card": str(item.entry.path),
    }
    lines += [*facts(known), "", *credits(card.attribution), *measured(card.measured)]
    return "\n".join(lines).rstrip()
