"""What `sam-moe checkpoints show` tells of a gate: whom it chooses among, how, and under which terms."""

from sam_moe.cli.models.checkpoint_pages import Checkpoint, facts, in_words, measured, wrapped
from sam_moe.registry import GateCard


def page(card: GateCard, item: Checkpoint) -> str:
    """A gate's card as a person reads it."""
    told = {
        "weights": f"{item.state}, {item.size}, {card.weights.dtype}",
        "sha256": card.weights.sha256,
        "base": f"{card.base.id}, fingerprint {card.base.sha256}",
        "experts": ", ".join(expert.id for expert in card.experts[1:]) or "none but the base",
        "chooses by": choice(card),
        "fuses": card.fusion,
        "sizes": in_words(card.architecture.model_dump()),
        "licence": card.licence,
        "as a mixture": item.licence,
        "made by": card.made_by.command if card.made_by else None,
        "not for": card.not_for or None,
        "card": str(item.entry.path),
    }
    lines = [f"{card.id}: {card.title}", *wrapped(card.description), "", *facts(told), ""]
    for point in card.curve:
        text = (
            f"general loses at most {point.general_drop:.4f} Dice, experts' classes gain "
            f"{point.specialised_gain:.3f} on average"
        )
        lines += wrapped(text, f"{f'threshold {point.threshold:g}':<15}")
    return "\n".join([*lines, *measured(card.measured)]).rstrip()


def choice(card: GateCard) -> str:
    """The selection rule in words, as the rule itself gives them."""
    from sam_moe.moe.rule_settings import make_rule

    experts = [expert.id for expert in card.experts]
    return make_rule(card.selection, card.rule_settings, experts).describe(experts)
