"""Gates as lists and pages: the experts they choose among, how they choose, and under which terms."""

from collections.abc import Sequence
from typing import Any

from sam_moe.cli.models.card_text import columns, facts, in_words, measured, wrapped
from sam_moe.cli.models.model_list import Checkpoint
from sam_moe.registry import GateCard


def table(found: Sequence[Checkpoint]) -> str:
    """One line a gate: its experts, how it chooses, where its weights are, the licence of the mixture."""
    rows = [("ID", "WEIGHTS", "LICENCE", "CHOOSES BY", "EXPERTS")]
    for item in found:
        card = item.entry.card
        assert isinstance(card, GateCard)
        experts = ", ".join(expert.id for expert in card.experts)
        rows.append(
            (
                card.id,
                item.state,
                item.licence,
                f"{card.selection} {in_words(card.rule_settings)}".strip(),
                experts,
            )
        )
    return columns(rows)


def as_json(item: Checkpoint) -> dict[str, Any]:
    """The line of the list, for machines."""
    card = item.entry.card
    assert isinstance(card, GateCard)
    return {
        **item.as_json(),
        "base": card.base.id,
        "experts": [expert.id for expert in card.experts],
        "selection": card.selection,
    }


def page(card: GateCard, item: Checkpoint) -> str:
    """A gate's card as a person reads it."""
    known = {
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
    lines = [f"{card.id}: {card.title}", *wrapped(card.description), "", *facts(known), ""]
    for point in card.curve:
        text = (
            f"general loses at most {point.general_drop:.4f} Dice, experts' classes gain "
            f"{point.specialised_gain:.3f} on average"
        )
        lines += wrapped(text, f"{f'threshold {point.threshold:g}':<15}")
    return "\n".join([*lines, *measured(card.measured)]).rstrip()


def choice(card: GateCard) -> str:
    """The selection rule in words, as the rule itself gives them; imports it, and so torch."""
    from sam_moe.moe.rule_settings import make_rule

    experts = [expert.id for expert in card.experts]
    return make_rule(card.selection, card.rule_settings, experts).describe(experts)
