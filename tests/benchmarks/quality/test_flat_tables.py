"""Tables of drawn prompts: means over structures and over targets, intervals over patients, and the stars."""

import pytest

from benchmarks.quality import flat_tables
from tests.benchmarks.quality.test_choose_lowering import ROWS


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


def test_over_targets_every_target_weighs_alike():
    assert flat_tables.over_targets(ROWS, "middle") == pytest.approx(2.2 / 4)


def test_an_interval_needs_three_patients_and_holds_the_mean():
    low, high = (float(edge) for edge in flat_tables.of_share(ROWS, "middle").split(" to "))
    assert low < 0.55 < high
    assert flat_tables.of_share(ROWS[:2], "middle") == ""


def test_an_interval_of_a_difference_has_its_signs_and_none_where_all_are_alike():
    low, high = flat_tables.of_difference(ROWS, "three", "middle").split(" to ")
    assert low[0] in "+-" and float(low) < 0.175 < float(high)
    assert flat_tables.of_difference(ROWS, "three", "three") == ""


def test_without_rows_there_is_no_mean():
    assert flat_tables.mean_dice([], "middle") != flat_tables.mean_dice([], "middle")  # NaN


def test_each_structure_has_its_means_by_every_rule():
    dice = {"3-D box": 0.9, "box": 0.1, "deep": 0.5, "middle": 0.6, "three": 0.7}
    rows = [row("liver", "small", "flat box", **dice)]
    rows += [row("liver", "small", "stroke", middle=0.4), row("liver", "small", "loop", deepest=0.3)]
    line = next(x for x in flat_tables.report(rows) if x.startswith("liver"))
    assert line.split() == ["liver", "1", "0.900", "0.100", "0.500", "0.600", "0.700", "0.400", "0.300"]
