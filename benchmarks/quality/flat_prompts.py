"""What is drawn on one slice, and which rule makes most of it: flat boxes, strokes, loops, corrections.

    python -m benchmarks.quality.flat_prompts [--part test] [--targets 3] [--models small small-moe]
        [--drawn KIND …] [--rows ROWS.json]

A simulated person draws on the slice of a target's middle voxel, on the three planes by turns: a box with
sides moved by up to 5 %, a stroke along the middle, a loop around. Each is lowered by each rule and asked of
`small` and `small-moe`. Corrections are drawn at the largest piece of false tissue of the answer to a first
click. The rules of `sam_moe.Lowering` were chosen on validation cases (`--part validation`). Mean Dice over
structures with 95 % intervals over patients; `least` is the worst target. The last line is one JSON object.
"""

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, get_args

import numpy as np
import torch

import sam_moe
from benchmarks.cases import read_case
from benchmarks.quality.blocks import GENERAL, ZERO_SHOT, Target, targets
from benchmarks.quality.protocol import JITTER, dice
from sam_moe.errors import SamMoeError
from sam_moe.evaluation.scoring.intervals import SHARE, interval
from sam_moe.files import replace_text
from sam_moe.predict.cache import EmbeddingCache
from sam_moe.predict.model import Model
from sam_moe.predict.predictor import Predictor
from sam_moe.processes import use_threads
from sam_moe.prompts import Box, Item, Loop, Point, Prompt, Stroke
from sam_moe.prompts.lowering import FlatBoxRule, LoopRule, Lowering, StrokeRule, lower
from sam_moe.prompts.simulate import Mask, box_around, centre_point, largest_error
from sam_moe.prompts.sketch import flat_box, loop_around, stroke_along
from sam_moe.space.grid import Grid

MODELS = ("small", "small-moe")
DRAWN = ("flat box", "stroke", "loop", "correction")
PLANES = {"R": "sagittal", "L": "sagittal", "A": "coronal", "P": "coronal", "S": "axial", "I": "axial"}
LEAST_FALSE = 30  # voxels of false tissue worth a correction
CLIP = 0.1  # how far beyond the box a clipped mask may reach, as a share of its side

Row = dict[str, Any]
Answer = Callable[..., Mask]


def chosen_targets(part: str, most: int) -> list[Target]:
    """At most so many targets of each structure that the models or an expert were made for, one a patient.

    The first of each structure come first, then the second ones: what is measured is balanced at any time.
    """
    met: Counter[str] = Counter()
    seen: set[tuple[str, str]] = set()
    ranked = []
    for target in targets(part)[0]:
        if target.block in (GENERAL, ZERO_SHOT) and not target.structure.endswith("*"):
            if (target.patient, target.structure) in seen:
                continue
            seen.add((target.patient, target.structure))
            met[target.structure] += 1
            if met[target.structure] <= most:
                ranked.append((met[target.structure], target))
    return [target for _, target in sorted(ranked, key=lambda one: (one[0], one[1].set, one[1].case))]


def measure(chosen: Sequence[Target], models: Sequence[str], drawn: Sequence[str]) -> Iterator[list[Row]]:
    """Every candidate's Dice, target after target: a row for each model and way of drawing."""
    cache = EmbeddingCache(1 << 30)
    loaded = {name: _plain(sam_moe.load(name, device="cpu"), cache) for name in models}
    for (name, case), own in groupby(enumerate(chosen), lambda one: (one[1].set, one[1].case)):
        scan, labels = read_case(name, case)
        sessions = {model: made.open(scan) for model, made in loaded.items()}
        for number, target in own:
            truth = torch.isin(labels.array.long(), torch.tensor(target.values)).numpy()
            axis = number % 3
            about = {"set": name, "case": case, "patient": target.patient, "label": target.label}
            about |= {"structure": target.structure, "plane": PLANES[scan.grid.axcodes[axis]]}
            yield [
                {**about, "model": model, "drawn": kind, "dice": scores}
                for model, session in sessions.items()
                for kind, scores in _of_target(session, truth, axis, target.seed, drawn).items()
            ]


def _plain(model: Model, cache: EmbeddingCache) -> Model:
    """The model without refining large targets, which costs up to 27 regions and is the same for all."""
    card = model.preprocessing.model_copy(update={"refine_beyond": 1000.0})
    return replace(model, preprocessing=card, cache=cache)


def _of_target(
    session: Predictor, truth: Mask, axis: int, seed: int, drawn: Sequence[str]
) -> dict[str, dict[str, float]]:
    grid, rng = session.scan.grid, np.random.default_rng(seed)

    def answer(*items: Item) -> Mask:
        try:
            return np.asarray(session.predict(*items).mask.numpy().astype(bool))
        except SamMoeError:
            return np.zeros_like(truth)

    box, stroke = flat_box(truth, axis, rng, JITTER), stroke_along(truth, axis)
    loop = loop_around(truth, axis, rng, JITTER)
    ways: dict[str, Callable[[], Iterator[tuple[str, float]]]] = {
        "flat box": lambda: _flat_boxes(answer, box, truth, axis, grid),
        "stroke": lambda: (
            (rule, dice(answer(*lowered(stroke, grid, stroke=rule)), truth)) for rule in rules(StrokeRule)
        ),
        "loop": lambda: (
            (rule, dice(answer(*lowered(loop, grid, loop=rule)), truth)) for rule in rules(LoopRule)
        ),
        "correction": lambda: _corrections(session, truth, axis),
    }
    found = {kind: dict(ways[kind]()) for kind in drawn}
    return {kind: scores for kind, scores in found.items() if scores}


def _flat_boxes(answer: Answer, box: Box, truth: Mask, axis: int, grid: Grid) -> Iterator[tuple[str, float]]:
    """The rules, other depths, and what was tried beside them."""
    tight = box_around(truth)
    yield "3-D box", dice(answer(tight), truth)
    yield "its slices known", dice(answer(_between(box, axis, tight.start[axis], tight.stop[axis])), truth)
    click = dice(middle := answer(*lowered(box, grid, flat_box="middle")), truth)
    for rule in rules(FlatBoxRule):
        yield rule, click if rule == "middle" else dice(answer(*lowered(box, grid, flat_box=rule)), truth)
    for factor in (0.7, 1.4):
        yield f"deep x {factor}", dice(answer(_deeper(box, axis, factor, grid)), truth)
    yield "middle, clipped", dice(middle & _beside(box, axis, truth.shape), truth)
    held = np.flatnonzero((middle & _beside(box, axis, truth.shape)).any(axis=_others(axis)))
    if not len(held):
        yield "middle, then a box", click
        return
    at = int(box.start[axis])
    found = _between(box, axis, min(int(held[0]), at), max(int(held[-1]), at) + 1)
    yield "middle, then a box", dice(answer(found), truth)


def _corrections(session: Predictor, truth: Mask, axis: int) -> Iterator[tuple[str, float]]:
    """What a negative click, stroke or loop on the largest false piece makes of the answer to a click."""
    click = centre_point(truth, session.scan.grid.spacing_mm)
    first = np.asarray(session.predict(click).mask.numpy().astype(bool))
    false = largest_error(np.zeros_like(truth), first & ~truth)
    if false is None or np.count_nonzero(false[0]) < LEAST_FALSE:
        return
    grid = session.scan.grid

    def mended(*items: Item) -> float:
        session.predict(click)
        return dice(np.asarray(session.refine(*items).mask.numpy().astype(bool)), truth)

    yield "none", dice(first, truth)
    yield "click", mended(Point(centre_point(false[0], grid.spacing_mm).at, positive=False))
    stroke = stroke_along(false[0], axis, positive=False)
    for rule in rules(StrokeRule)[:3]:
        yield f"stroke, {rule}", mended(*lowered(stroke, grid, stroke=rule))
    loop = loop_around(false[0], axis, positive=False)
    for rule in rules(LoopRule)[:2]:
        yield f"loop, {rule}", mended(*lowered(loop, grid, loop=rule))


def rules(kind: object) -> list[str]:
    """The names of a kind's rules."""
    return list(get_args(kind))


def lowered(item: Box | Stroke | Loop, grid: Grid, **rule: str) -> list[Item]:
    """An item lowered by a rule; boxes that come of it are meant as they are."""
    found = lower(Prompt((item,)), grid.affine, grid.shape, Lowering.model_validate(rule))
    return [replace(one, flat=False) if isinstance(one, Box) else one for one in found]


def _between(box: Box, axis: int, low: float, high: float) -> Box:
    start, stop = list(box.start), list(box.stop)
    start[axis], stop[axis] = low, high
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]), flat=False)


def _deeper(box: Box, axis: int, factor: float, grid: Grid) -> Box:
    """The box so many times as deep as wide, inside the scan."""
    wide_mm = np.mean([box.size[other] * grid.spacing_mm[other] for other in _others(axis)])
    half = factor * float(wide_mm) / grid.spacing_mm[axis] / 2
    middle = box.centre[axis] + 0.5
    return _between(box, axis, max(0.0, middle - half), min(float(grid.shape[axis]), middle + half))


def _beside(box: Box, axis: int, shape: tuple[int, ...]) -> Mask:
    """All voxels that lie, seen along an axis, in the box or a tenth of its side beside it."""
    inside = np.ones(shape, bool)
    for other in _others(axis):
        margin = CLIP * box.size[other] + 1
        index = np.arange(shape[other]) + 0.5
        held = (index > box.start[other] - margin) & (index < box.stop[other] + margin)
        inside &= held.reshape([-1 if a == other else 1 for a in range(3)])
    return inside


def _others(axis: int) -> tuple[int, ...]:
    return tuple(other for other in range(3) if other != axis)


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
            yield f"{'':22}{'mean':>7}{'95 %':>14}{'axial':>8}{'coronal':>9}{'sagittal':>9}{'least':>7}"
            for name in own[0]["dice"]:
                mean, cells = (
                    _mean(own, name),
                    [
                        _mean([row for row in own if row["plane"] == plane], name)
                        for plane in ("axial", "coronal", "sagittal")
                    ],
                )
                least = min(row["dice"][name] for row in own)
                star = "*" if name in ours[drawn] else " "
                yield (
                    f"{name:21}{star}{mean:7.3f}{_interval(own, name):>14}{cells[0]:8.3f}{cells[1]:9.3f}"
                    f"{cells[2]:9.3f}{least:7.2f}"
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


def _mean(rows: Sequence[Row], name: str) -> float:
    """The mean over structures of their means over targets."""
    by: Mapping[str, list[float]] = defaultdict(list)
    for row in rows:
        by[row["structure"]].append(row["dice"][name])
    return float(np.mean([np.mean(values) for values in by.values()])) if by else float("nan")


def _interval(rows: Sequence[Row], name: str) -> str:
    values = np.array([row["dice"][name] for row in rows], dtype=np.float64)
    lists = ([row[key] for row in rows] for key in ("patient", "structure", "set"))
    patients, structures, sets = lists
    found = interval(values, patients, SHARE, structures, sets)
    return f"{found[0]:.2f} to {found[1]:.2f}" if found else ""


def main() -> None:
    """Measure what is not in the file of rows yet, print the tables and the JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", default="test", choices=("validation", "test"))
    parser.add_argument("--targets", type=int, default=3, help="at most, of each structure")
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--drawn", nargs="+", default=DRAWN, choices=DRAWN)
    parser.add_argument("--rows", type=Path, help="keep every answer's Dice here, and go on from them")
    asked = parser.parse_args()
    use_threads(1)
    rows: list[Row] = []
    if asked.rows and asked.rows.exists():
        rows = json.loads(asked.rows.read_text(encoding="utf-8"))
    known = {(row["set"], row["case"], row["label"]) for row in rows}
    chosen = chosen_targets(asked.part, asked.targets)
    left = [target for target in chosen if (target.set, target.case, target.label) not in known]
    start = perf_counter()
    for found in measure(left, asked.models, asked.drawn):
        rows += found
        if asked.rows:
            replace_text(asked.rows, json.dumps(rows))
    scans = len({(target.set, target.case) for target in chosen})
    print(f"{asked.part} part: {len(chosen)} targets of {scans} scans, mean Dice over structures")
    print(f"{process_time():.0f} processor seconds, {perf_counter() - start:.0f} s on one thread")
    print("\n".join(report(rows)))


if __name__ == "__main__":
    main()
