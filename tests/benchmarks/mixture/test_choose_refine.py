"""What is decided of an automatic model's masks, by hand; and that the card and the table have it."""

import json

import pytest

from benchmarks.mixture import choose_refine
from benchmarks.mixture.choose_refine import Gain, choices, decided, report
from benchmarks.mixture.refined_masks import Measured
from sam_moe.registry import AutomaticCard
from tests.registry.conftest import make_automatic_card


def row(structure, patient, whole, largest, box, alone=None, rule=None):
    return Measured(
        "neck",
        structure,
        f"scan {patient}",
        patient,
        found=whole > 0,
        all=whole,
        largest=largest,
        box=box,
        alone=whole if alone is None else alone,
        rule=whole if rule is None else rule,
    )


def rows(structure, *triples):
    return [row(structure, str(number), *triple) for number, triple in enumerate(triples)]


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ((0.02, 0.02), True),  # two patients, and none loses
        ((0.05, -0.01), False),  # of two patients there is no interval, and one loses
        ((0.009, 0.009, 0.009), False),  # too little
        ((0.02, 0.03, -0.001, 0.04), True),  # one loses, and the interval is above 0
        ((0.2, -0.1, 0.05, -0.05), False),  # it is not
        ((0.0, 0.0, 0.06), True),
    ],
)
def test_a_gain_is_decided_where_it_is_enough_and_no_scan_loses_or_the_interval_is_above_0(values, wanted):
    assert Gain(values, tuple(map(str, range(len(values)))), 0.01).decided is wanted


def test_the_box_is_held_against_the_parts_that_are_decided():
    (choice,) = choices(rows("cord", (0.6, 0.7, 0.72), (0.5, 0.6, 0.62), (0.6, 0.6, 0.62)))
    assert choice.largest.values == pytest.approx((0.1, 0.1, 0.0)) and choice.parts == "largest"
    assert choice.box.values == pytest.approx((0.02, 0.02, 0.02)) and choice.refine == "box"
    (kept,) = choices(rows("cord", (0.6, 0.5, 0.605), (0.5, 0.5, 0.5)))
    assert kept.parts == "all" and kept.box.values == pytest.approx((0.005, 0.0)) and kept.refine == "none"


def test_the_card_gets_what_was_decided_and_keeps_all_else():
    card = AutomaticCard.model_validate(make_automatic_card())
    found = choices(rows("cord", (0.6, 0.7, 0.8)) + rows("larynx", (0.6, 0.5, 0.4)))
    changed = decided(card, found)
    neck, brain = changed.sets
    assert [(label.parts, label.refine) for label in neck.labels] == [("largest", "box"), ("all", "none")]
    assert brain == card.sets[1] and changed.weights == card.weights
    assert AutomaticCard.model_validate(changed.model_dump()) == changed


def test_the_validation_table_has_a_line_a_structure_and_the_decisions():
    card = AutomaticCard.model_validate(make_automatic_card())
    found = rows("cord", (0.6, 0.7, 0.8), (0.5, 0.6, 0.7)) + rows("larynx", (0.0, 0.0, 0.0))
    lines = list(report(found, card, "small-moe", "validation"))
    assert lines[0] == f"{card.id}, then small-moe, validation part: 3 targets of 2 scans, mean Dice"
    assert lines[3].split()[:5] == ["cord", "2", "2", "0.550", "0.650"] and lines[3].endswith("largest, box")
    assert lines[4].split()[:3] == ["larynx", "1", "0"] and lines[4].endswith("all, none")
    assert json.loads(lines[-1])["cord"] == {
        "n": 2,
        "all": 0.55,
        "largest": 0.65,
        "box": 0.75,
        "parts": "largest",
        "refine": "box",
    }


@pytest.mark.parametrize(("worse", "verdict"), [(0.0, "met"), (0.02, "missed")])
def test_the_test_table_holds_the_rule_against_the_masks_alone(worse, verdict):
    card = AutomaticCard.model_validate(make_automatic_card())
    found = [
        row("cord", "1", 0.5, 0.6, 0.9, alone=0.6, rule=0.7),
        row("larynx", "1", 0.8, 0.8, 0.1, alone=0.8, rule=0.8 - worse),
    ]
    lines = list(report(found, card, "small-moe", "test"))
    assert lines[-3] == f"mean over structures {(0.1 - worse) / 2:+.4f} (bar +0.01: met)"
    assert lines[-2] == f"worst structure larynx {0 - worse:+.4f} (bar -0.005: {verdict})"
    assert json.loads(lines[-1])["gains"] == {"cord": 0.1, "larynx": -worse}


def test_test_cases_decide_nothing(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["choose_refine", "auto-small", "--part", "test", "--write"])
    with pytest.raises(SystemExit):
        choose_refine.main()
    assert "test cases decide nothing" in capsys.readouterr().err
