"""The benchmark of what is drawn on one slice: candidates are what they are called, its means are means."""

import numpy as np

from benchmarks.quality import flat_prompts
from sam_moe.prompts import Box, Loop
from sam_moe.space.grid import Grid

BOX = Box((10, 20, 4), (20, 40, 5))
GRID = Grid(np.diag([1.0, 1.0, 5.0, 1.0]), (40, 50, 12))


def test_a_deeper_box_is_so_many_times_as_deep_as_wide():
    deep = flat_prompts._deeper(BOX, 2, 1.0, GRID)  # 10 x 20 mm: 15 mm, three slices about slice 4
    assert (deep.start, deep.stop, deep.flat) == ((10, 20, 3), (20, 40, 6), False)
    assert flat_prompts._deeper(BOX, 2, 9.0, GRID).stop[2] == 12


def test_beside_a_box_is_seen_along_its_axis():
    held = flat_prompts._beside(BOX, 2, (40, 50, 12))
    assert held[:, :, 0].sum() == (10 + 2 * 2) * (20 + 2 * 3) and (held == held[:, :, :1]).all()


def test_boxes_that_come_of_a_rule_are_meant_as_they_are():
    (box,) = flat_prompts.lowered(BOX, GRID, flat_box="box")
    assert box.flat is False and box.space == "mm"
    loop = Loop(((10, 20, 4), (20, 20, 4), (20, 40, 4)))
    assert len(flat_prompts.lowered(loop, GRID, loop="three")) == 3
