"""Figures over clicks: what the CVPR 2025 challenge ranks by, and how many clicks a Dice takes."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from sam_moe.evaluation.results import Row
from sam_moe.evaluation.scoring.intervals import SHARE
from sam_moe.evaluation.scoring.summary import chains_of, figures_of, prompts_of

LEAST_DICE = 0.2  # of a case, for its NSD to count
WANTED_DICE = (0.8, 0.9)


def interactive(rows: Sequence[Row]) -> dict[str, Any]:
    """Of each system and each chain of at least two clicks: AUC, final and clicks to a Dice, with intervals.

    `{system: {chain: {figure: {mean, median, …}}}}`; a chain is called by its clicks: `click`, `box+click`.
    """
    kept = [row for row in rows if row.counts]
    found: dict[str, Any] = {}
    for system in dict.fromkeys(row.system for row in kept):
        own = [row for row in kept if row.system == system]
        for chain in chains_of(prompts_of(own)):
            clicks = [prompt for prompt in chain if "click" in prompt]
            if len(clicks) > 1:
                chained = [row for row in own if row.prompt in chain]
                name = clicks[0].rstrip("0123456789")
                found.setdefault(system, {})[name] = {
                    "clicks": len(clicks),
                    **_of_cases(chained, clicks),
                    **_of_targets(chained, chain),
                }
    return found


def auc(values: Sequence[float]) -> float:
    """Area under a curve over steps of 1, by trapezoids: five ones make 4.

    >>> auc([0.0, 0.5, 1.0, 1.0, 1.0])
    3.0
    """
    return sum((a + b) / 2 for a, b in pairwise(values))


def clicks_to(dice: Sequence[float], wanted: float, boxed: bool) -> tuple[int, bool]:
    """Clicks until Dice is reached for the first time, and whether it ever is.

    `boxed`: the first answer is that to a box alone, of no click.

    >>> clicks_to([0.7, 0.82, 0.79], 0.8, boxed=False)
    (2, True)
    """
    first = next((n for n, value in enumerate(dice) if value >= wanted), None)
    if first is None:
        return len(dice) + (not boxed), False
    return first + (not boxed), True


def _of_cases(rows: Sequence[Row], clicks: Sequence[str]) -> dict[str, Any]:
    """AUC and final of each case, over its structures."""
    cases: dict[str, list[Row]] = {}
    for row in rows:
        cases.setdefault(row.case, []).append(row)
    figures: dict[str, list[float]] = {
        name: [] for name in ("dice_auc", "dice_final", "nsd_auc", "nsd_final")
    }
    for own in cases.values():
        steps = [[row for row in own if row.prompt == prompt] for prompt in clicks]
        dice = [float(np.mean([row.dice for row in step])) for step in steps]
        nsd = [float(np.mean([row.nsd for row in step])) for step in steps]
        nsd = [value if overlap > LEAST_DICE else 0.0 for value, overlap in zip(nsd, dice, strict=True)]
        for name, values in (("dice", dice), ("nsd", nsd)):
            figures[f"{name}_auc"].append(auc(values))
            figures[f"{name}_final"].append(values[-1])
    owners = [own[0].patient for own in cases.values()]
    area = (0.0, len(clicks) - 1.0)
    return {
        name: figures_of(np.array(values), owners, area if name.endswith("_auc") else SHARE)
        for name, values in figures.items()
    }


def _of_targets(rows: Sequence[Row], chain: Sequence[str]) -> dict[str, Any]:
    """Clicks to each Dice, over targets."""
    targets: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        targets.setdefault((row.case, row.label), {})[row.prompt] = row
    boxed = "click" not in chain[0]
    owners = [own[chain[0]].patient for own in targets.values()]
    fewest, most = float(not boxed), float(len(chain) + (not boxed))
    found = {}
    for wanted in WANTED_DICE:
        counted = [clicks_to([own[p].dice for p in chain], wanted, boxed) for own in targets.values()]
        found[f"clicks_to_{wanted}"] = {
            **figures_of(np.array([float(count) for count, _ in counted]), owners, (fewest, most)),
            "reached": sum(reached for _, reached in counted) / len(counted),
        }
    return found
