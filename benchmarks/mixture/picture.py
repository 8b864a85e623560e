"""The picture of `reproduce.py`: who answered what, and Dice against the fallback threshold."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.mixture.answers import Answer
from benchmarks.mixture.systems import GENERAL, MIXTURE
from benchmarks.mixture.tables import BY_PROGRAM, OWNERS, SPECIALISED, block_of
from benchmarks.quality.blocks import GENERAL as GENERAL_BLOCK
from benchmarks.quality.blocks import OTHER, UNSEEN
from sam_moe.registry import GateCard
from sam_moe.registry.finding import find_card

_TAUS = np.linspace(0, 1, 101)


def draw(answers: Sequence[Answer], threshold: float | None, path: Path) -> None:
    """Write the picture: on the left one matrix for all ways to ask, on the right the threshold's curves."""
    figure = Figure(figsize=(14, 9), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(1.1, 1))
    _matrix(left, [a for a in answers if a.system == MIXTURE])
    _curves(right, [a for a in answers if a.prompt == "box"], threshold)
    figure.savefig(path, dpi=110)


def _matrix(axes: Axes, answers: Sequence[Answer]) -> None:
    """Rows are structures, grouped by block; columns who answered, as shares of all clicks and boxes."""
    experts = [GENERAL, *OWNERS.values()]
    order = [GENERAL_BLOCK, SPECIALISED, BY_PROGRAM, OTHER, UNSEEN]
    rows = sorted(
        {(order.index(block_of(a.target)), a.target.structure) for a in answers},
    )
    shares, counts = np.zeros((len(rows), len(experts))), np.zeros(len(rows))
    for answer in answers:
        row = rows.index((order.index(block_of(answer.target)), answer.target.structure))
        counts[row] += 1
        for name, weight in answer.experts.items():
            shares[row, experts.index(name) if name in experts else 0] += weight
    shares /= np.maximum(counts[:, None], 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        if share >= 0.005:
            colour = "white" if share > 0.6 else "black"
            axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(
        range(len(experts)), [name.replace("-", " ") for name in experts], rotation=30, ha="right"
    )
    labels = [f"{structure} ({int(n)})" for (_, structure), n in zip(rows, counts, strict=True)]
    axes.set_yticks(range(len(rows)), labels, fontsize=8)
    for edge in range(1, len(rows)):
        if rows[edge][0] != rows[edge - 1][0]:
            axes.axhline(edge - 0.5, color="black", linewidth=1)
    for block in sorted({row[0] for row in rows}):
        held = [number for number, row in enumerate(rows) if row[0] == block]
        name = fill(order[block].split(", in no")[0].split("; in no")[0], 16)
        axes.text(len(experts) - 0.4, sum(held) / len(held), name, ha="left", va="center", fontsize=7)
    axes.set_title("Who answered, % of answers (how many)", fontsize=9, loc="left")


def _curves(axes: Axes, boxes: Sequence[Answer], threshold: float | None) -> None:
    """Mean Dice had the general model answered below each threshold; from boxes, which ask for one region."""
    alone: dict[object, dict[str, float]] = defaultdict(dict)
    for answer in boxes:
        alone[answer.target][answer.system] = answer.dice
    asked = [a for a in boxes if a.system == MIXTURE and a.confidence]
    for block, colour in ((GENERAL_BLOCK, "#0072b2"), (SPECIALISED, "#d55e00")):
        own = [a for a in asked if block_of(a.target) == block]
        curve = [
            _mean([(a.target.structure, _dice_at(a, tau, alone[a.target])) for a in own]) for tau in _TAUS
        ]
        axes.plot(
            _TAUS,
            curve,
            color=colour,
            label="general structures" if block == GENERAL_BLOCK else "specialised",
        )
        base = _mean([(a.target.structure, alone[a.target][GENERAL]) for a in own])
        axes.axhline(base, color=colour, linestyle=":", linewidth=1)
    if threshold is not None:
        axes.axvline(threshold, color="black", linewidth=1, label=f"the gate's threshold, {threshold:.2f}")
    axes.set_xlabel("fallback threshold")
    axes.set_ylabel("mean Dice over structures, from a box")
    axes.set_title(
        "Dice against the fallback threshold (dotted: the general model alone)", fontsize=9, loc="left"
    )
    axes.legend(loc="lower left")
    axes.set_ylim(0, 1)


def _dice_at(answer: Answer, tau: float, alone: dict[str, float]) -> float:
    """What the surest specialist, or below `tau` the general model, gave for this box by itself."""
    specialists = {name: c for name, c in answer.confidence.items() if name in OWNERS.values()}
    best = max(specialists, key=lambda name: specialists[name])
    return alone[best if specialists[best] >= tau else GENERAL]


def _mean(found: Sequence[tuple[str, float]]) -> float:
    by_structure: dict[str, list[float]] = defaultdict(list)
    for structure, dice in found:
        by_structure[structure].append(dice)
    return mean(mean(values) for values in by_structure.values())


def threshold_of(gate: str) -> float | None:
    """The threshold on a gate's card."""
    card = find_card(gate).card
    return card.threshold if isinstance(card, GateCard) else None
