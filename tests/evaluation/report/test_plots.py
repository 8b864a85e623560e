import re

import numpy as np
import pytest

from sam_moe.evaluation.report.plots import against_volume, box_plots, curves
from sam_moe.evaluation.results import METRICS
from sam_moe.evaluation.scoring.summary import summarise
from tests.evaluation.rows import missing, row, study, words_of

CLICKS = ["click1", "click2", "click3"]


def numbers(path):
    return [float(found) for found in re.findall(r"-?\d+\.?\d*", path)]


def paths(picture, **attributes):
    return [
        one
        for one in picture.iter("path")
        if all(one.get(name) == value for name, value in attributes.items())
    ]


def test_a_box_reaches_from_quartile_to_quartile():
    values = [0.1, 0.3, 0.5, 0.7, 0.9]
    rows = [row(dice, case=str(dice), patient=str(dice)) for dice in values]
    picture = box_plots(rows, METRICS["dice"], ["small"], ["click1"])
    (box,) = picture.iter("rect")
    # The axis runs from 0 to 1 over the rules with those numbers.
    ticks = {one.text: float(one.get("x")) for one in picture.iter("text") if one.get("class") == "faint"}
    left, width = ticks["0"], ticks["1"] - ticks["0"]
    assert (float(box.get("x")) - left) / width == pytest.approx(0.3, abs=0.002)
    assert float(box.get("width")) / width == pytest.approx(0.4, abs=0.002)
    dots = paths(picture, **{"stroke-linecap": "round"})[0].get("d")
    found = [(float(x) - left) / width for x in re.findall(r"M([\d.]+)", dots)]
    np.testing.assert_allclose(found, values, atol=0.002)


def test_every_system_has_a_box_after_every_prompt_it_was_asked():
    rows = [*study({"small": 0.0, "tiny": -0.2}), row(0.6, system="peer", prompt="box")]
    picture = box_plots(rows, METRICS["nsd"], ["small", "tiny", "peer"], ["click1", "box"])
    assert "NSD" in words_of(picture)
    assert [word for word in words_of(picture) if word in ("click1", "box", "small", "tiny", "peer")] == [
        "click1",
        "small",
        "tiny",
        "box",
        "peer",
    ]
    assert len(list(picture.iter("rect"))) == 3


def test_a_missed_target_does_not_squeeze_the_distances():
    rows = [*(row(0.5, case=str(n), patient=str(n), hd95_mm=2.0 + n) for n in range(6)), missing(case="x")]
    picture = box_plots(rows, METRICS["hd95_mm"], ["small"], ["click1"])
    assert "HD95 (mm)" in words_of(picture)
    (box,) = picture.iter("rect")
    assert float(box.get("width")) > 30  # 3.5 to 6.5 of 400 mm would be 3 units wide on a plain scale


def places_of(hd95_mm):
    """Where the dots of such distances are, and the numbers on the axis below them."""
    rows = [row(1.0, case=str(n), patient=str(n), hd95_mm=value) for n, value in enumerate(hd95_mm)]
    picture = box_plots(rows, METRICS["hd95_mm"], ["small"], ["click1"])
    (dots,) = paths(picture, **{"stroke-linecap": "round"})
    ticks = {one.text: float(one.get("x")) for one in picture.iter("text") if one.get("class") == "faint"}
    return [float(x) for x in re.findall(r"M([\d.]+)", dots.get("d"))], ticks


def test_a_distance_of_zero_is_drawn_at_a_marked_zero_left_of_the_smallest_other():
    (zero, two, twenty), ticks = places_of([0.0, 2.0, 20.0])
    assert zero == pytest.approx(ticks["0"], abs=0.1)
    assert zero < ticks["//"] < two < ticks["5"] < ticks["10"] < twenty
    assert two - zero > 30  # they were 9 apart on an axis that began at 1.6


def test_without_a_zero_the_axis_of_distances_has_none():
    assert not {"0", "//"} & set(places_of([2.0, 20.0])[1])


def test_distances_of_nothing_but_zeros_are_drawn_at_zero():
    (only,), ticks = places_of([0.0])
    assert only == pytest.approx(ticks["0"], abs=0.1)


def test_a_curve_goes_through_the_means_within_its_band():
    summary = summarise(study({"small": 0.0}))["all"]
    picture = curves(summary, METRICS["dice"], CLICKS)
    (band,) = paths(picture, **{"fill-opacity": "0.14"})
    (means,) = paths(picture, **{"stroke-width": "2.2"})
    heights = numbers(means.get("d"))[1::2]
    edges = numbers(band.get("d"))[1::2]
    lower, upper = edges[:3], edges[:2:-1]
    assert heights == sorted(heights, reverse=True)  # better click by click is upwards
    assert all(low > mean > high for low, mean, high in zip(lower, heights, upper, strict=True))
    # Means 0.45, 0.55, 0.65: steps alike.
    assert np.diff(heights).tolist() == pytest.approx([heights[1] - heights[0]] * 2, abs=0.11)


def test_two_patients_have_a_curve_without_a_band():
    picture = curves(summarise(study({"small": 0.0}, patients=2))["all"], METRICS["dice"], CLICKS)
    assert paths(picture, **{"fill-opacity": "0.14"}) == []
    assert len(paths(picture, **{"stroke-width": "2.2"})) == 1


def test_a_system_that_was_not_asked_along_a_chain_has_no_curve():
    summary = summarise([*study({"small": 0.0}), row(0.6, system="peer", prompt="box")])["all"]
    assert len(paths(curves(summary, METRICS["nsd"], CLICKS), **{"stroke-width": "2.2"})) == 1


def test_clicks_after_a_box_are_named_by_what_they_add():
    chain = ["box", "box+click1", "box+click2"]
    rows = [row(0.5, prompt=prompt, step=step) for step, prompt in enumerate(chain)]
    assert {"box", "+click1", "+click2"} <= set(
        words_of(curves(summarise(rows)["all"], METRICS["dice"], chain))
    )


def test_dice_over_volume_names_each_dot():
    rows = [row(0.25, case="<b>c</b>", truth_ml=3.0), row(0.75, case="d1", truth_ml=300.0)]
    picture = against_volume(rows, ["small"])
    titles = [one.text for one in picture.iter("title")]
    assert titles[0] == "<b>c</b>, liver: Dice 0.250, 3 ml (small)"
    first, second = picture.iter("circle")
    assert float(first.get("cx")) < float(second.get("cx"))
    assert float(first.get("cy")) > float(second.get("cy"))


def test_many_targets_share_one_path_and_have_medians():
    rows = [row(0.5, case=str(n), patient=str(n), truth_ml=n + 1.0) for n in range(500)]
    picture = against_volume(rows, ["small"])
    assert list(picture.iter("circle")) == []
    (medians,) = paths(picture, **{"stroke-width": "2.2"})
    assert len(numbers(medians.get("d"))) == 10


def test_targets_without_volume_have_no_picture():
    assert against_volume([row(0.0, truth_ml=0.0)], ["small"]) is None
