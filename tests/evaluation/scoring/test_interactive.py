"""CVPR 2025's figures and clicks to a Dice, by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate

from sam_moe.evaluation.scoring.interactive import auc, clicks_to, interactive
from tests.evaluation.rows import row

CLICKS = [f"click{n}" for n in range(1, 6)]
BOXED = ["box", *(f"box+click{n}" for n in range(1, 6))]


def target(dice, prompts, **fields):
    return [
        row(value, prompt=prompt, step=step, **({"nsd": value} | fields))
        for step, (prompt, value) in enumerate(zip(prompts, dice, strict=True))
    ]


@given(st.lists(st.floats(0, 1), min_size=2, max_size=7))
def test_the_area_is_what_the_challenge_computes(values):
    theirs = integrate.cumulative_trapezoid(np.array(values), np.arange(len(values)))[-1]
    assert auc(values) == pytest.approx(theirs)


def test_five_perfect_clicks_have_an_area_of_four():
    assert auc([1.0] * 5) == 4.0


@pytest.mark.parametrize(
    ("dice", "boxed", "expected"),
    [
        ([0.8, 0.1, 0.1], False, (1, True)),
        ([0.8, 0.1, 0.1], True, (0, True)),
        ([0.1, 0.7, 0.9], False, (3, True)),
        ([0.1, 0.7, 0.9], True, (2, True)),
        ([0.1, 0.2, 0.79], False, (4, False)),
        ([0.1, 0.2, 0.79], True, (3, False)),
    ],
)
def test_clicks_are_counted_up_to_the_first_that_is_good_enough(dice, boxed, expected):
    assert clicks_to(dice, 0.8, boxed) == expected


def test_a_case_is_the_mean_of_its_structures_and_the_box_alone_is_not_in_the_area():
    rows = target([0.0, 0.4, 0.4, 0.4, 0.4, 0.4], BOXED, label="liver")
    rows += target([0.0, 0.8, 0.8, 0.8, 0.8, 0.8], BOXED, label="spleen")
    found = interactive(rows)["small"]["box+click"]
    assert found["clicks"] == 5
    assert found["dice_auc"]["mean"] == pytest.approx(2.4)  # 0.6 over a width of 4
    assert found["dice_final"]["mean"] == pytest.approx(0.6)
    assert found["dice_auc"]["n"] == 1 and found["clicks_to_0.8"]["n"] == 2
    assert found["clicks_to_0.8"]["mean"] == pytest.approx((6 + 1) / 2)
    assert found["clicks_to_0.8"]["reached"] == 0.5


def test_nsd_counts_nothing_where_the_dice_of_a_case_is_a_fifth_or_less():
    # Dice 0.1 and 0.2 at the first two clicks, then 0.3: NSD 0.9 counts from the third on.
    rows = target([0.1, 0.2, 0.3, 0.3, 0.3], CLICKS, nsd=0.9)
    found = interactive(rows)["small"]["click"]
    assert found["nsd_auc"]["mean"] == pytest.approx(0.45 + 0.9 + 0.9)
    assert found["nsd_final"]["mean"] == pytest.approx(0.9)
    assert found["dice_auc"]["mean"] == pytest.approx(0.15 + 0.25 + 0.3 + 0.3)


def test_two_protocols_are_two_chains_and_a_lone_box_is_none():
    rows = target([0.5] * 5, CLICKS) + target([0.5] * 6, BOXED)
    assert list(interactive(rows)["small"]) == ["box+click", "click"]
    assert interactive(target([0.5], ["box"])) == {}


def test_an_extra_file_is_no_case():
    rows = target([0.5] * 5, CLICKS)
    extra = row(0.0, case="strange", prompt="given", status="extra", patient="")
    assert interactive([*rows, extra]) == interactive(rows)
