"""Dice from flat boxes, strokes, loops and drawn corrections, by the rule that lowers them.

    python -m benchmarks.quality.flat_prompts [--part test] [--targets 3] [--models small small-moe]
        [--drawn KIND …] [--rows ROWS.json]

A simulated user draws on the slice of a target's middle voxel, on the three planes by turns: a box with sides
moved by up to 5 %, a stroke along the middle, a loop around. Each is lowered by each rule and answered by
`small` and `small-moe`. Corrections are drawn at the largest piece of false tissue of the answer to a first
point. Mean Dice over structures; over targets, with 95 % intervals over patients (some structures were seen
in one patient alone, so that means over structures have none); `least` is the worst target. The rules of
`sam_moe.Lowering` were chosen on validation cases: `choose_lowering.py` makes those figures again. The last
line is one JSON object.
"""

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from time import perf_counter, process_time
from typing import get_args

import numpy as np
import torch

import sam_moe
from benchmarks.cases import read_case
from benchmarks.quality.blocks import GENERAL, ZERO_SHOT, Target, targets
from benchmarks.quality.flat_tables import Row, report
from benchmarks.quality.protocol import JITTER
from sam_moe.errors import SamMoeError
from sam_moe.evaluation.scoring.metrics import dice
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
RULES = {"flat box": FlatBoxRule, "stroke": StrokeRule, "loop": LoopRule}
CLIP = 0.1  # how far beyond the box a clipped mask may reach, as a share of its side

Scores = dict[str, dict[str, float]]  # by what was drawn, then by candidate


@dataclass(frozen=True)
class Drawn:
    """What is drawn of one target on the slice of its middle voxel along `axis`."""

    truth: Mask
    axis: int
    box: Box
    stroke: Stroke
    loop: Loop


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


def measure(
    chosen: Sequence[tuple[int, Target]],
    models: Sequence[str],
    scores_of: Callable[[Predictor, Drawn], Scores],
) -> Iterator[list[Row]]:
    """Dice of every candidate, target after target: a row for each model and each kind of drawing.

    Targets come with their numbers, which decide the plane.
    """
    cache = EmbeddingCache(1 << 30)
    loaded = {name: _plain(sam_moe.load(name, device="cpu"), cache) for name in models}
    for (name, case), own in groupby(chosen, lambda one: (one[1].set, one[1].case)):
        scan, labels = read_case(name, case)
        sessions = {model: made.open(scan) for model, made in loaded.items()}
        for number, target in own:
            truth = torch.isin(labels.array.long(), torch.tensor(target.values)).numpy()
            drawn = draw(truth, number % 3, target.seed)
            about = {"set": name, "case": case, "patient": target.patient, "label": target.label}
            about |= {"structure": target.structure, "plane": PLANES[scan.grid.axcodes[drawn.axis]]}
            yield [
                {**about, "model": model, "drawn": kind, "dice": scores}
                for model, session in sessions.items()
                for kind, scores in scores_of(session, drawn).items()
            ]


def _plain(model: Model, cache: EmbeddingCache) -> Model:
    """The model without refining large targets, which costs up to 27 regions and is the same for all."""
    card = model.preprocessing.model_copy(update={"refine_beyond": 1000.0})
    return replace(model, preprocessing=card, cache=cache)


def draw(truth: Mask, axis: int, seed: int) -> Drawn:
    """The box, the stroke and the loop of one target; the seed decides how sides and curve are moved."""
    rng = np.random.default_rng(seed)
    box, stroke = flat_box(truth, axis, rng, JITTER), stroke_along(truth, axis)
    return Drawn(truth, axis, box, stroke, loop_around(truth, axis, rng, JITTER))


def answered(session: Predictor, *items: Item) -> Mask:
    """The mask from a prompt; empty where it is refused."""
    try:
        return np.asarray(session.predict(*items).mask.numpy().astype(bool))
    except SamMoeError:
        return np.zeros(session.scan.grid.shape, dtype=bool)


def every_candidate(session: Predictor, drawn: Drawn, kinds: Sequence[str]) -> Scores:
    """Dice of the rules and of what was tried beside them, for these kinds of drawing."""
    ways: dict[str, Callable[[], Iterator[tuple[str, float]]]] = {
        "flat box": lambda: _flat_boxes(session, drawn),
        "stroke": lambda: by_rule(session, drawn, "stroke"),
        "loop": lambda: by_rule(session, drawn, "loop"),
        "correction": lambda: _corrections(session, drawn.truth, drawn.axis),
    }
    found = {kind: dict(ways[kind]()) for kind in kinds}
    return {kind: scores for kind, scores in found.items() if scores}


def by_rule(session: Predictor, drawn: Drawn, kind: str) -> Iterator[tuple[str, float]]:
    """Dice of each rule of one kind of drawing."""
    field = kind.replace(" ", "_")
    item = {"flat_box": drawn.box, "stroke": drawn.stroke, "loop": drawn.loop}[field]
    for rule in rules(RULES[kind]):
        mask = answered(session, *lowered(item, session.scan.grid, **{field: rule}))
        yield rule, dice(drawn.truth, mask)


def _flat_boxes(session: Predictor, drawn: Drawn) -> Iterator[tuple[str, float]]:
    """The rules, other depths, and what was tried beside them."""
    box, truth, axis, grid = drawn.box, drawn.truth, drawn.axis, session.scan.grid
    answer, tight = partial(answered, session), box_around(truth)
    yield "3-D box", dice(truth, answer(tight))
    yield "its slices known", dice(truth, answer(_between(box, axis, tight.start[axis], tight.stop[axis])))
    click = dice(truth, middle := answer(*lowered(box, grid, flat_box="middle")))
    for rule in rules(FlatBoxRule):
        yield rule, click if rule == "middle" else dice(truth, answer(*lowered(box, grid, flat_box=rule)))
    for factor in (0.7, 1.4):
        yield f"deep x {factor}", dice(truth, answer(_deeper(box, axis, factor, grid)))
    yield "middle, clipped", dice(truth, middle & _beside(box, axis, truth.shape))
    held = np.flatnonzero((middle & _beside(box, axis, truth.shape)).any(axis=_others(axis)))
    if not len(held):
        yield "middle, then a box", click
        return
    at = int(box.start[axis])
    found = _between(box, axis, min(int(held[0]), at), max(int(held[-1]), at) + 1)
    yield "middle, then a box", dice(truth, answer(found))


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
        return dice(truth, np.asarray(session.refine(*items).mask.numpy().astype(bool)))

    yield "none", dice(truth, first)
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
    left = [(n, one) for n, one in enumerate(chosen) if (one.set, one.case, one.label) not in known]
    start = perf_counter()
    for found in measure(left, asked.models, partial(every_candidate, kinds=asked.drawn)):
        rows += found
        if asked.rows:
            replace_text(asked.rows, json.dumps(rows))
    scans = len({(target.set, target.case) for target in chosen})
    print(f"{asked.part} part: {len(chosen)} targets of {scans} scans, mean Dice over structures")
    print(f"{process_time():.0f} processor seconds, {perf_counter() - start:.0f} s on one thread")
    print("\n".join(report(rows)))


if __name__ == "__main__":
    main()
