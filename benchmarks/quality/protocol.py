"""How every tool of the table is asked: the same simulated user clicks for each, and draws one box for all.

The first click is the deepest voxel of the target; each further one is the deepest voxel of the largest error
of the tool's own answer so far, or, in a replay, what another tool was told. The box is the target's, each
face moved by up to 5 % of the edge.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import process_time

import numpy as np

from sam_moe.errors import SamMoeError
from sam_moe.prompts import Box, Point
from sam_moe.prompts.simulate import Mask, box_around, centre_point, next_click

CLICKS = 5
SHOWN = (1, 3, 5)
JITTER = 0.05

ByClicks = Callable[[Sequence[Point]], Mask]
ByBox = Callable[[Box], Mask]


@dataclass(frozen=True)
class Score:
    """One answer: what was said last (`click1`, …, `box`), its Dice, its processor seconds.

    `refused` where the tool raised one of our errors; `idle` where nothing was left to mend, and so nothing
    was asked.
    """

    prompt: str
    dice: float
    seconds: float
    refused: bool = False
    idle: bool = False


def dice(one: Mask, other: Mask) -> float:
    """Dice overlap; 1 where both are empty."""
    total = np.count_nonzero(one) + np.count_nonzero(other)
    return 2 * int(np.count_nonzero(one & other)) / int(total) if total else 1.0


def click_through(
    answer: ByClicks, truth: Mask, spacing_mm: tuple[float, float, float], clicks: int = CLICKS
) -> tuple[list[Score], list[Point]]:
    """Ask with one click more each time, all clicks so far handed over; return what was said, too.

    A tool that refuses its clicks keeps its last mask, which is empty at first; one that is right to the
    voxel is not asked again.
    """
    said: list[Point] = []
    mask = np.zeros_like(truth)
    scores: list[Score] = []
    for number in range(1, clicks + 1):
        prompt = f"click{number}"
        click = next_click(truth, mask, spacing_mm=spacing_mm) if said else centre_point(truth, spacing_mm)
        if click is None:
            scores.append(Score(prompt, 1.0, 0.0, idle=True))
            continue
        said.append(click)
        start, refused = process_time(), False
        try:
            mask = answer(tuple(said))
        except SamMoeError:
            refused = True
        seconds = process_time() - start
        scores.append(Score(prompt, dice(mask, truth), seconds, refused))
    return scores, said


def replay(answer: ByClicks, said: Sequence[Point], truth: Mask) -> list[Score]:
    """Ask with the first 3, then 5 of the clicks that another tool was given; fewer where it needed fewer."""
    scores = []
    for number in SHOWN[1:]:
        start, refused = process_time(), False
        try:
            mask = answer(tuple(said[:number]))
        except SamMoeError:
            mask, refused = np.zeros_like(truth), True
        scores.append(Score(f"click{number}", dice(mask, truth), process_time() - start, refused))
    return scores


def drawn_box(truth: Mask, seed: int) -> Box:
    """The one box that all tools get for a target."""
    return box_around(truth, np.random.default_rng(seed), jitter=JITTER)


def by_box(answer: ByBox, box: Box, truth: Mask) -> Score:
    """Ask with a box; a refusal is an empty mask."""
    start = process_time()
    try:
        mask, refused = answer(box), False
    except SamMoeError:
        mask, refused = np.zeros_like(truth), True
    seconds = process_time() - start
    return Score("box", dice(mask, truth), seconds, refused)
