"""Chooses the settings of the classical tools, on validation cases only: one parameter after the other.

    python -m benchmarks.peers.tuning growing|walker|cut [--clicks 1 3 5] [--patients 2]

Starting from the settings in `classical.py`, each parameter in turn takes the value with the best mean Dice
over the general structures (with points: averaged over the numbers of --clicks), until a round changes
nothing. The last line is one JSON object with the settings chosen.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from statistics import mean
from typing import Any

import torch

from benchmarks.cases import read_case
from benchmarks.peers.classical import ConfidenceConnected, CutEllipsoid, RandomWalker
from benchmarks.quality.blocks import GENERAL, Target, first_patients, targets
from benchmarks.quality.protocol import Score, by_box, click_through, drawn_box
from sam_moe.processes import use_threads
from sam_moe.prompts.simulate import Mask
from sam_moe.space.volume import Volume

GRIDS: dict[str, tuple[Any, dict[str, Sequence[float]]]] = {
    "growing": (
        ConfidenceConnected(),
        {
            "reach_mm": (10, 15, 20, 30, 40, 60, 90),
            "multiplier": (1.5, 2.0, 2.5, 3.0, 3.5),
            "smooth_mm": (0.0, 1.0, 2.0, 3.0, 4.0, 6.0),
            "radius": (1, 2, 3),
            "iterations": (0, 1, 2, 4),
            "opening": (0, 1, 2),
        },
    ),
    "walker": (
        RandomWalker(),
        {
            "threshold": (0.02, 0.05, 0.1, 0.2, 0.3, 0.5),
            "beta": (30, 130, 500, 2000, 8000),
            "reach_mm": (20, 30, 40, 60, 90),
            "seed_mm": (2, 4, 8, 12),
            "smooth_mm": (0.0, 1.0, 3.0),
            "voxels": (32, 44),
        },
    ),
    "cut": (
        CutEllipsoid(),
        {
            "width": (1.5, 2.0, 2.5, 3.0, 4.0, 6.0),
            "inner": (0.3, 0.4, 0.5, 0.6, 0.7),
            "outer": (1.0, 1.1, 1.2, 1.3, 2.0),
            "smooth_mm": (0.0, 1.0, 2.0, 3.0),
            "opening": (0, 1),
        },
    ),
}


def main() -> None:
    """Print every setting tried and the JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tool", choices=GRIDS)
    parser.add_argument("--clicks", type=int, nargs="+", default=[1, 3, 5])
    parser.add_argument("--patients", type=int, default=100, help="so many of each set, to be quicker")
    asked = parser.parse_args()
    use_threads(1)
    best, grid = GRIDS[asked.tool]
    cases = _cases(asked.patients)
    tried: dict[Any, float] = {}

    def value(tool: Any) -> float:
        if tool not in tried:
            tried[tool] = _mean(tool, cases, asked.clicks)
            print(f"{tried[tool]:.4f} {tool}", flush=True)
        return tried[tool]

    before = None
    while best != before:
        before = best
        for name, choices in grid.items():
            best = max([best, *(replace(best, **{name: choice}) for choice in choices)], key=value)
    print(json.dumps({**asdict(best), "dice": round(value(best), 4)}))


def _cases(patients: int) -> list[tuple[Target, Volume, Mask]]:
    read = {}
    cases = []
    for target in first_patients(targets("validation")[0], patients):
        if target.block == GENERAL:
            if target.case not in read:
                read[target.case] = read_case(target.set, target.case)
            scan, labels = read[target.case]
            truth = torch.isin(labels.array.long(), torch.tensor(target.values)).numpy()
            cases.append((target, scan, truth))
    return cases


def _mean(
    tool: Callable[..., Mask], cases: Sequence[tuple[Target, Volume, Mask]], clicks: list[int]
) -> float:
    found: dict[str, list[float]] = defaultdict(list)
    for target, scan, truth in cases:
        found[target.structure].append(mean(s.dice for s in _scores(tool, target, scan, truth, clicks)))
    return mean(mean(values) for values in found.values())


def _scores(
    tool: Callable[..., Mask], target: Target, scan: Volume, truth: Mask, clicks: list[int]
) -> list[Score]:
    if isinstance(tool, CutEllipsoid):
        return [by_box(lambda box: tool(scan, box), drawn_box(truth, target.seed), truth)]
    scores, _ = click_through(lambda points: tool(scan, points), truth, scan.grid.spacing_mm, max(clicks))
    return [scores[number - 1] for number in clicks]


if __name__ == "__main__":
    main()
