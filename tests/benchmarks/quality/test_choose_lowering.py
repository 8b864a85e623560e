"""The choice among rules for drawn prompts: means, differences and the star are those of the rows."""

from benchmarks.quality import choose_lowering
from benchmarks.quality.flat_prompts import RULES, rules
from sam_moe.prompts.lowering import Lowering


def row(patient, structure, **dice):
    return {"set": "s", "patient": patient, "structure": structure, "plane": "axial", "dice": dice}


ROWS = [
    row("1", "liver", middle=0.8, three=0.9),
    row("2", "liver", middle=0.6, three=0.9),
    row("3", "liver", middle=0.7, three=0.6),
    row("1", "cord", middle=0.1, three=0.5),
]


def test_a_figure_is_the_mean_over_structures():
    # liver (0.8 + 0.6 + 0.7) / 3 and 0.8, cord 0.1 and 0.5
    assert choose_lowering.figures(ROWS) == {"middle": 0.4, "three": 0.65}


def test_the_best_rule_comes_first_and_the_default_has_the_star():
    head, columns, first, second = choose_lowering.table("flat box", ROWS)
    assert "4 targets" in head and columns.split()[:2] == ["mean", "least"]
    assert first.split()[:4] == ["three", "*", "0.650", "0.50"] and Lowering().flat_box == "three"
    assert second.split()[:3] == ["middle", "0.400", "0.10"]
    assert "-0.175" in second and "-0.175" not in first  # over targets: 0.55 against 0.725


def test_each_kind_has_a_default_among_its_rules():
    for kind in RULES:
        assert choose_lowering.default_of(kind) in rules(RULES[kind])
