"""Settings of the classical tools are scored on targets, structures alike, by points or by a box."""

import numpy as np
import pytest

from benchmarks.peers import tuning
from benchmarks.peers.classical import ConfidenceConnected, CutEllipsoid, RandomWalker
from benchmarks.quality import blocks
from sam_moe.space.volume import Volume
from tests.benchmarks.drawn import ESOPHAGUS, GRID, LIVER, labels

SCAN = Volume(100 + 300 * (labels() > 0).float(), GRID)


def case(structure, value):
    target = blocks.Target(blocks.GENERAL, "drawn", "a", "a", structure, structure, (value,), 100)
    return target, SCAN, (labels() == value).numpy()


class Whole:
    """A tool that always answers the same mask, and counts the points."""

    def __init__(self, mask):
        self.mask, self.given = mask, []

    def __call__(self, scan, points):
        self.given.append(len(points))
        return self.mask


def test_scores_are_those_after_the_numbers_of_points_that_are_wanted():
    target, scan, truth = case("liver", LIVER)
    half = truth & (np.arange(truth.shape[0]) < 9)[:, None, None]
    tool = Whole(half)
    scores = tuning._scores(tool, target, scan, truth, [1, 3])
    assert [score.prompt for score in scores] == ["click1", "click3"] and tool.given == [1, 2, 3]
    assert all(score.dice == pytest.approx(2 * 5 / 15) for score in scores)  # 5 of 10 slabs


def test_a_box_is_asked_of_the_tool_that_takes_boxes():
    target, scan, truth = case("liver", LIVER)
    (score,) = tuning._scores(CutEllipsoid(), target, scan, truth, [1, 3, 5])
    assert score.prompt == "box" and 0.5 < score.dice <= 1


def test_the_mean_is_one_over_structures_however_many_targets_they_have():
    liver, cord = case("liver", LIVER), case("esophagus", ESOPHAGUS)
    mask = (labels() == LIVER).numpy()  # right for the liver, wrong for the other
    assert tuning._mean(Whole(mask), [liver, liver, liver, cord], [1]) == pytest.approx(0.5)


def test_every_setting_that_is_tried_is_one_of_the_tool_and_starts_from_the_shipped_one():
    """The walker's radius was chosen by hand between two that are tried (LOG.md)."""
    for tool, grid in tuning.GRIDS.values():
        beside = {name for name, choices in grid.items() if getattr(tool, name) not in choices}
        assert beside == ({"seed_mm"} if isinstance(tool, RandomWalker) else set())
    assert {type(tool) for tool, _ in tuning.GRIDS.values()} == {
        ConfidenceConnected,
        RandomWalker,
        CutEllipsoid,
    }
