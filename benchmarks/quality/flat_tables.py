"""Tables of what is drawn on one slice: mean Dice by candidate, plane and structure, with intervals."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sam_moe.evaluation.scoring.intervals import DIFFERENCE, SHARE, interval
from sam_moe.prompts.lowering import Lowering

Row = dict[str, Any]


def report(rows: Sequence[Row]) -> Iterator[str]:
    """A table for each way of drawing and each model: means over structures, by plane, and the worst."""
    figures: dict[str, dict[str, float]] = {}
    best = Lowering()
    ours = {"flat box": {best.flat_box}, "stroke": {best.stroke}, "loop": {best.loop}}
    ours["correction"] = {f"stroke, {best.stroke}", f"loop, {best.loop}"}
    for drawn in dict.fromkeys(row["drawn"] for row in rows):
        for model in dict.fromkeys(row["model"] for row in rows):
            own = [row for row in rows if (row["drawn"], row["model"]) == (drawn, model)]
            if not own:
                continue
            yield f"\n{drawn}, {model}: {len(own)} targets (* the rule of sam_moe.Lowering)"
            titles = (
                f"{'mean':>7}{'targets':>9}{'95 %':>14}{'axial':>8}{'coronal':>9}{'sagittal':>9}{'least':>7}"
            )
            yield " " * 22 + titles
            for name in own[0]["dice"]:
                mean = mean_dice(own, name)
                planes = ("axial", "coronal", "sagittal")
                cells = [mean_dice([row for row in own if row["plane"] == plane], name) for plane in planes]
                least = min(row["dice"][name] for row in own)
                star = "*" if name in ours[drawn] else " "
                yield (
                    f"{name:21}{star}{mean:7.3f}{over_targets(own, name):9.3f}{of_share(own, name):>14}"
                    f"{cells[0]:8.3f}{cells[1]:9.3f}{cells[2]:9.3f}{least:7.2f}"
                )
                figures.setdefault(f"{drawn}, {model}", {})[name] = round(mean, 4)
    yield from _structures(rows)
    yield json.dumps(figures)


def _structures(rows: Sequence[Row]) -> Iterator[str]:
    """Each structure's mean: a 3-D box, a flat box by each rule, a stroke and a loop by theirs."""
    best = Lowering()
    columns = [("flat box", name) for name in ("3-D box", "box", "deep", "middle", "three")]
    columns += [("stroke", best.stroke), ("loop", best.loop)]
    for model in dict.fromkeys(row["model"] for row in rows if row["drawn"] == "flat box"):
        yield f"\neach structure, {model}"
        yield f"{'':24}{'n':>4}" + "".join(f"{name if d == 'flat box' else d:>9}" for d, name in columns)
        for structure in sorted({row["structure"] for row in rows}):
            own = [row for row in rows if (row["structure"], row["model"]) == (structure, model)]
            count = sum(row["drawn"] == "flat box" for row in own)
            cells = (
                np.mean([r["dice"][name] for r in own if r["drawn"] == drawn]) for drawn, name in columns
            )
            yield f"{structure:24}{count:4}" + "".join(f"{cell:9.3f}" for cell in cells)


def mean_dice(rows: Sequence[Row], name: str) -> float:
    """The mean over structures of their means over targets; NaN without rows."""
    by: Mapping[str, list[float]] = defaultdict(list)
    for row in rows:
        by[row["structure"]].append(row["dice"][name])
    return float(np.mean([np.mean(values) for values in by.values()])) if by else float("nan")


def over_targets(rows: Sequence[Row], name: str) -> float:
    """The mean over targets."""
    return float(np.mean([row["dice"][name] for row in rows]))


def of_share(rows: Sequence[Row], name: str) -> str:
    """The 95 % interval of a candidate's mean over targets; empty where there is none."""
    values = np.array([row["dice"][name] for row in rows], dtype=np.float64)
    return _written(interval(values, *_patients(rows, SHARE), sets=[row["set"] for row in rows]), "")


def of_difference(rows: Sequence[Row], name: str, other: str) -> str:
    """The 95 % interval of the mean over targets of one candidate's Dice less another's."""
    values = np.array([row["dice"][name] - row["dice"][other] for row in rows], dtype=np.float64)
    return _written(interval(values, *_patients(rows, DIFFERENCE), sets=[row["set"] for row in rows]), "+")


def _patients(rows: Sequence[Row], bounds: tuple[float, float]) -> tuple[list[str], tuple[float, float]]:
    return [row["patient"] for row in rows], bounds


def _written(found: tuple[float, float] | None, sign: str) -> str:
    return f"{found[0]:{sign}.2f} to {found[1]:{sign}.2f}" if found else ""
