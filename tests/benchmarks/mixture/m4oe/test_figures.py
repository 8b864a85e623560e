"""Figures by hand: means over structures, modalities named, alarms, and what was asked for."""

import math

import pytest

from benchmarks.mixture.m4oe.figures import (
    Figure,
    alarm_level,
    by_structure,
    figures,
    flagged,
    interval_of,
    mean_dice,
    named_right,
    routing_of,
    seconds_by_set,
)
from sam_moe.registry import AutomaticCard
from tests.benchmarks.mixture.m4oe.rows import seen
from tests.registry.conftest import make_automatic_card

CARD = AutomaticCard.model_validate(make_automatic_card())
WEIGHTS = {"a": (0.75, 0.25), "b": (0.75, 0.25)}
NECK = seen(
    alone={"cord": 0.8, "larynx": 0.0},
    gated={"cord": 0.8, "larynx": 0.5},
    forced={"cord": 0.8, "larynx": 0.6},
    weights=WEIGHTS,
    chosen={"": "0001", "a": "0000", "b": "0011"},
    seconds=3.0,
)
BRAIN = seen(
    scan="b",
    modality="MR T1",
    own="brain",
    taken="neck",
    alone={"hippocampus": 0.0},
    gated={"hippocampus": 0.9},
    forced={"hippocampus": 0.9},
    weights=WEIGHTS,
    chosen={"": "1111", "a": "1111", "b": "0011"},
    seconds=1.0,
)
LIMB = seen(scan="limb", modality="MR T1", own="", distance=5.0)


def test_the_mean_is_over_structures_and_each_over_its_scans():
    rows = [NECK, seen(scan="c", alone={"cord": 0.6}), LIMB]
    assert by_structure(rows) == {"cord": [(0.8, "a"), (0.6, "c")], "larynx": [(0.0, "a")]}
    assert mean_dice(rows, "alone") == pytest.approx((0.7 + 0.0) / 2)


def test_an_interval_is_over_scans_and_none_of_one():
    low, high = interval_of([(0.7, "a"), (0.8, "b"), (0.75, "c")])
    assert low < 0.75 < high and interval_of([(0.7, "a")]) is None


def test_modalities_are_named_on_slices_and_volumes():
    right = named_right([NECK, BRAIN], CARD)
    assert right == {"": 7 / 8, "a": 1.0, "b": 0.5, "volumes": 0.5, "taken": 0.5}


def test_information_is_that_of_the_places():
    found = routing_of([NECK, BRAIN, LIMB], CARD)
    assert found.slices == {"CT": 4, "MR T1": 4} and found.experts == ("ct", "mr")
    assert [place.nats for place in found.places] == pytest.approx([math.log(2), 0])


def test_at_most_one_in_twenty_known_scans_lies_beyond_the_level():
    rows = [seen(scan=str(n), distance=float(n), far=10.0) for n in range(40)]
    level = alarm_level(rows)
    assert level == 3.7 and flagged(rows, level) == 2 / 40
    assert alarm_level(rows[:10]) == 0.9  # of ten none may lie beyond
    assert alarm_level([seen(far=None)]) is None and flagged([], 1.0) is None


def test_each_figure_has_its_verdict():
    found = {figure.what: figure for figure in figures([NECK, BRAIN, LIMB], CARD)}
    assert found["modality named by the gates: slices"].reached == 7 / 8
    assert found["modality named by the gates: slices"].verdict == "missed"
    assert found["the same at the worst place"].verdict == ""
    difference = found["mean Dice, by the gates or by the known expert: difference"]
    assert difference.reached == pytest.approx(0.1 / 3) and difference.verdict == "missed"
    assert found["structures at Dice 0"].reached == 2
    assert found["foreign T1 volumes flagged at 5 % false alarms, of 1"].reached == 1
    assert found["foreign T1 volumes flagged at 5 % false alarms, of 1"].verdict == "met"
    assert found["known test volumes flagged at the card's far (false alarms), of 2"].reached == 0


def test_the_shipped_models_have_bars_of_their_own():
    card = CARD.model_copy(update={"id": "auto-small"})
    parts = {"hippocampus_anterior": 0.9, "hippocampus_posterior": 0.86, "liver": 0.9, "spleen": 0.88}
    row = seen(alone=parts, gated=parts, forced=parts, weights=WEIGHTS, chosen=NECK.chosen)
    found = {figure.what: figure for figure in figures([row], card)}
    least = found["least Dice: hippocampus_anterior, hippocampus_posterior"]
    assert (least.asked, least.reached, least.verdict) == (0.87, 0.86, "missed")
    mean = found["mean Dice: liver, kidney_right, kidney_left, spleen"]
    assert (mean.asked, mean.verdict) == (0.88, "met") and mean.reached == pytest.approx(0.89)
    assert not any("larynx" in what for what in found)  # no scan has one


def test_a_bound_is_kept_from_either_side():
    assert Figure("m", "dice", 0.5, 0.5).verdict == "met"
    assert Figure("m", "seconds", 2.0, 2.1, least=False).verdict == "missed"


def test_seconds_are_medians_by_set():
    assert seconds_by_set([NECK, BRAIN, seen(scan="c", seconds=5.0), LIMB]) == {"neck": 4.0, "brain": 1.0}
