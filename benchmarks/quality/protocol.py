"""Prompts of the tables: points by one simulated user for every tool, and one box for all.

The first point is the deepest voxel of the target; each further one the deepest voxel of the largest error of
the tool's last mask or, in a replay, a point that another tool was given. The box is the target's, each face
moved by up to 5 % of the edge.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import process_time

import numpy as np

from sam_moe.errors import SamMoeError
from sam_moe.evaluation.scoring.metrics import dice
from sam_moe.prompts import Box, Point
from sam_moe.prompts.simulate import Mask, box_around, centre_point, next_click

CLICKS = 5
SHOWN = (1, 3, 5)
JITTER = 0.05

ByClicks = Callable[[Sequence[Point]], Mask]
ByBox = Callable[[Box], Mask]


@dataclass(frozen=True)
class Score:
    """One answer: its prompt (`click1`, …, `box`), its Dice, its processor seconds.

    `refused` where the tool raised one of our errors; `idle` where no error was left, so that no point was
    given.
    """

    prompt: str
    dice: float
    seconds: float
    refused: bool = False
    idle: bool = False


def click_through(
    answer: ByClicks, truth: Mask, spacing_mm: tuple[float, float, float], clicks: int = CLICKS
) -> tuple[list[Score], list[Point]]:
    """Scores of a tool that gets one point more each time, with those before; and the points.

    A tool that refuses its points keeps its last mask, which is empty at first; one that is right to the
    voxel gets no further point.
    """
    points: list[Point] = []
    mask = np.zeros_like(truth)
    scores: list[Score] = []
    for number in range(1, clicks + 1):
        prompt = f"click{number}"
        click = next_click(truth, mask, spacing_mm=spacing_mm) if points else centre_point(truth, spacing_mm)
        if click is None:
            scores.append(Score(prompt, 1.0, 0.0, idle=True))
            continue
        points.append(click)
        start, refused = process_time(), False
        try:
            mask = answer(tuple(points))
        except SamMoeError:
            refused = True
        seconds = process_time() - start
        scores.append(Score(prompt, dice(truth, mask), seconds, refused))
    return scores, points


def replay(answer: ByClicks, points: Sequence[Point], truth: Mask) -> list[Score]:
    """Scores from the first 3, then 5 points that another tool was given; fewer where that needed fewer."""
    scores = []
    for number in SHOWN[1:]:
        start, refused = process_time(), False
        try:
            mask = answer(tuple(points[:number]))
        except SamMoeError:
            mask, refused = np.zeros_like(truth), True
        scores.append(Score(f"click{number}", dice(truth, mask), process_time() - start, refused))
    return scores


def drawn_box(truth: Mask, seed: int) -> Box:
    """The one box that all tools get for a target; the seed decides how its faces are moved."""
    return box_around(truth, np.random.default_rng(seed), jitter=JITTER)


def by_box(answer: ByBox, box: Box, truth: Mask) -> Score:
    """Score of a tool's mask from a box; a refusal is an empty mask."""
    start = process_time()
    try:
        mask, refused = answer(box), False
    except SamMoeError:
        mask, refused = np.zeros_like(truth), True
    seconds = process_time() - start
    return Score("box", dice(truth, mask), seconds, refused)
