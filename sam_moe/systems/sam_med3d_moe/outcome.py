"""What a training gained against the general model, read off its card: what its command ends with."""

from dataclasses import dataclass

from sam_moe.registry import ExpertCard, GateCard
from sam_moe.systems.sam_med3d_moe.train_gate.figures import GAINED, LEFT, LOST
from sam_moe.training.recipes.card import held_against

# A gate that leaves as much of its experts' prompts to the general model hardly uses them.
_NEARLY_ALL = 0.9


@dataclass(frozen=True)
class Outcome:
    """What was gained, what is wrong with it, and whether to go on with it."""

    text: str
    warnings: tuple[str, ...]
    recommended: bool


def of_expert(card: ExpertCard) -> Outcome:
    """An expert against the general model that it grew on, on the same validation regions."""
    pairs, base = held_against(card.measured, card.base.id), card.base.id
    if "mean" not in pairs:
        warning = f"nothing was held against {base}: validate it before it is used (validation_regions)"
        return Outcome(f"{card.id}: trained, and not validated", (warning,), True)
    own, general = pairs["mean"]
    data = next(row.data for row in card.measured)
    width = max(map(len, (*pairs, "Dice, asked by")))
    columns = [max(6, len(name)) for name in (card.id, base)]
    lines = [f"{'Dice, asked by':<{width}}  {card.id:>{columns[0]}}  {base:>{columns[1]}}  gained"]
    for how, (mine, theirs) in pairs.items():
        gained = f"{mine - theirs:+.3f}"
        lines.append(f"{how:<{width}}  {mine:>{columns[0]}.3f}  {theirs:>{columns[1]}.3f}  {gained}")
    text = "\n".join([*lines, f"on {data}"])
    against = f"({own:.3f} against {general:.3f})"
    if own <= general:
        warning = (
            f"{card.id} is no better than the general model {base} {against}: with it less would be found. "
            "Look at structures and labels, then try more regions, more steps or another learning rate"
        )
        return Outcome(text, (warning,), False)
    worse = [how for how, (mine, theirs) in pairs.items() if mine < theirs]
    warnings = (f"{card.id} is worse than {base} when asked by {', by '.join(worse)}",) if worse else ()
    return Outcome(text, warnings, True)


def of_gate(card: GateCard, most_drop: float) -> Outcome:
    """A mixture against the general model alone; `most_drop` is the Dice that a structure may lose."""
    found = {row.metric: row.value for row in card.measured}
    gained, lost, left = (found.get(metric) for metric in (GAINED, LOST, LEFT))
    if gained is None:  # a card that was written before these figures were has the curve
        point = next((point for point in card.curve if point.threshold == card.threshold), None)
        gained, lost = (None, None) if point is None else (point.specialised_gain, point.general_drop)
    parts = [] if card.threshold is None else [f"threshold {card.threshold:g}"]
    if gained is not None and lost is not None:
        parts.append(f"the experts' structures gain {gained:.3f} Dice on average")
        parts.append(f"a general one loses at most {lost:.4f}" if lost > 0 else "no general one loses")
    if left is not None:
        parts.append(f"{left:.0%} of the experts' prompts are left to {card.base.id}")
    warnings = []
    if gained is None:
        warnings.append("what is gained was not measured: the run keeps no answers to fuse")
    elif gained <= 0:
        warnings.append(f"the mixture gains nothing over {card.base.id} alone")
    if left is not None and left >= _NEARLY_ALL:
        warnings.append(
            f"{left:.0%} of the experts' prompts are left to the general model: the gate cannot separate "
            "them, or no threshold uses the experts without loss. Look at curve.png, at `structures` and at "
            "more regions"
        )
    harms = lost is not None and lost > most_drop
    if harms and card.threshold is None:  # else the choice of the threshold warns of it
        warnings.append(f"a general structure loses {lost:.4f} Dice, more than most_drop {most_drop:g}")
    return Outcome("; ".join(parts), tuple(warnings), not (warnings or harms))
