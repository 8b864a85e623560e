"""The benchmark of what is drawn on one slice: candidates are what they are called, its means are means."""

import numpy as np
import pytest

from benchmarks.quality import flat_prompts, flat_tables
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


def row(structure, model, drawn, **scores):
    about = {"set": "s", "case": "c", "patient": "p", "label": structure, "plane": "axial"}
    return {**about, "structure": structure, "model": model, "drawn": drawn, "dice": scores}


def test_a_mean_is_one_over_structures():
    rows = [
        row("liver", "small", "stroke", middle=0.9),
        row("liver", "small", "stroke", middle=0.7),
        row("cord", "small", "stroke", middle=0.2),
    ]
    assert flat_tables.mean_dice(rows, "middle") == pytest.approx(0.5)
    text = "\n".join(flat_tables.report(rows))
    assert "stroke, small: 3 targets" in text and "middle               *  0.500" in text
    assert text.splitlines()[-1] == '{"stroke, small": {"middle": 0.5}}'
