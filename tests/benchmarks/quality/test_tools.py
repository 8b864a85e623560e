"""Rows of the tools without training on a drawn scan: which there are, and from which prompts."""

from collections import Counter

import numpy as np
import pytest
import torch

import sam_moe
from benchmarks.quality import blocks, tools
from sam_moe.prompts import Box, Point
from sam_moe.space.volume import Volume
from tests.benchmarks.drawn import GRID, LIVER, labels

TARGET = blocks.Target(blocks.GENERAL, "drawn", "a", "a", "liver", "liver", (LIVER,), 480)


@pytest.fixture
def scan():
    return Volume(100 + 300 * (labels() > 0).float(), GRID)


@pytest.mark.slow
def test_without_a_model_the_other_tools_answer_five_points_or_one_box(drawn_set):
    pytest.importorskip("skimage", reason="scikit-image is not installed: pip install -e '.[benchmarks]'")
    rows = list(tools.rows_of([TARGET], None))
    assert Counter(row.tool for row in rows) == {
        tools.GROWING: 5,
        tools.WALKER: 5,
        tools.ELLIPSOID: 1,
        tools.CUT: 1,
    }
    assert {row.score.prompt for row in rows if row.tool == tools.CUT} == {"box"}
    assert all(row.target is TARGET and 0 <= row.score.dice <= 1 for row in rows)


@pytest.mark.slow
def test_with_a_model_the_tools_also_get_its_points(drawn_set):
    pytest.importorskip("skimage", reason="scikit-image is not installed: pip install -e '.[benchmarks]'")
    rows = list(tools.rows_of([TARGET], sam_moe.load("tiny", device="cpu")))
    by_tool = Counter(row.tool for row in rows)
    assert by_tool[tools.OURS] == 6  # five points, a box
    assert {by_tool[name] for name in tools.OUR_POINTS.values()} == {2}  # after 3 and 5 points
    order = [row.tool for row in rows]
    assert order[0] == tools.OURS, "its points come first: the others get them again"


def test_a_box_is_answered_by_its_ellipsoid(scan):
    box = Box((4, 5, 4), (14, 13, 10))
    mask = tools.boxed_tools(scan, None)[tools.ELLIPSOID](box)
    assert mask.shape == GRID.shape and mask[9, 9, 7] and not mask[4, 5, 4]
    index = np.argwhere(mask)
    assert (index.min(0) >= (4, 5, 4)).all() and (index.max(0) < (14, 13, 10)).all()


def test_a_session_gets_one_point_more_each_time_and_starts_anew_with_the_first(scan):
    predictor = sam_moe.load("tiny", device="cpu").open(scan)
    ours = tools.clicked_tools(scan, predictor)[tools.OURS]
    first, second = Point((9, 9, 7)), Point((20, 3, 2), positive=False)
    alone = ours([first])
    ours([first, second])
    assert len(predictor.prompt) == 2
    assert np.array_equal(ours([first]), alone) and len(predictor.prompt) == 1
    assert alone.dtype == bool and torch.from_numpy(alone).shape == torch.Size(GRID.shape)
