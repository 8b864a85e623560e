import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_moe.evaluation.report.svg import Scale, across, cut, dots, legend, number, upright, width_of


def test_a_scale_by_hand():
    scale = Scale(0, 10, 100, 300)
    assert [scale(value) for value in (0, 5, 10)] == [100, 200, 300]
    assert [scale(value) for value in (-3, 99)] == [100, 300]


def test_a_logarithmic_scale_gives_each_decade_the_same_room():
    scale = Scale(1, 1000, 0, 300, log=True)
    assert [scale(value) for value in (1, 10, 100, 1000)] == pytest.approx([0, 100, 200, 300])
    assert scale(0) == 0


def test_a_logarithmic_scale_with_room_for_it_reaches_down_to_zero():
    scale = Scale(1, 10_000, 0, 430, log=True, to_zero=30)
    assert [scale(value) for value in (-1, 0, 0.5, 1, 10, 10_000)] == pytest.approx([0, 0, 15, 30, 130, 430])
    assert scale.ticks() == [0, 1, 10, 100, 1000, 10_000]
    words = [(one.text, float(one.get("x"))) for one in across(scale, 0, 9, "mm") if one.tag == "text"]
    assert {("0", 0.0), ("//", 15.0), ("1", 30.0)} <= set(words)


def test_a_scale_of_one_value_stays_in_the_picture():
    assert Scale(2, 2, 10, 20)(2) == 10


def test_ticks_are_round_and_inside():
    assert Scale(0, 1, 0, 400).ticks() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert Scale(0.7, 2000, 0, 400, log=True).ticks() == [1, 10, 100, 1000]
    assert Scale(8, 90, 0, 400, log=True).ticks() == [10, 20, 50]


@given(st.floats(1e-3, 1e4), st.floats(1.05, 1e3), st.booleans())
def test_every_scale_has_a_tick_or_two_within_its_ends(low, ratio, log):
    scale = Scale(low, low * ratio, 0, 400, log)
    assert all(low <= tick * (1 + 1e-9) and tick <= low * ratio * (1 + 1e-9) for tick in scale.ticks())
    assert len(scale.ticks()) <= 14


def test_a_dot_is_a_dozen_bytes():
    path = dots([(1.0, 2.0), (3.25, 4.0)], 3, "red", 1).get("d")
    assert path == "M1.0 2.0h0M3.2 4.0h0"


def test_axes_carry_their_numbers_and_titles():
    drawn = [*across(Scale(0, 1, 0, 400), 0, 100, "Dice"), *upright(Scale(0, 1, 100, 0), 0, 400, "NSD")]
    words = [one.text for one in drawn if one.tag == "text"]
    assert words.count("0.2") >= 1 and {"Dice", "NSD"} <= set(words)


def test_a_legend_breaks_into_lines():
    drawn, height = legend(["one", "two", "three"], 0, 10, 90)
    lines = {one.get("y") for one in drawn if one.tag == "text"}
    assert len(lines) == 3 and height > 45


def test_a_legend_keeps_the_colours_of_those_it_shows():
    drawn, _ = legend(["one", "two"], 0, 10, 90, shown={"two"})
    assert [one.text for one in drawn if one.tag == "text"] == ["two"]
    assert drawn[0].get("stroke") == "var(--c1)"


def test_long_names_lose_their_middle():
    assert cut("litemedsam-with-a-very-long-name") == "litemedsam-wi…ry-long-name"
    assert cut("short") == "short"
    assert width_of(["a", "abc"]) == width_of(["abc"]) > 0 == width_of([])


def test_numbers_as_one_writes_them():
    assert [number(value) for value in (0.2, 10.0, 1500.0, 0.05)] == ["0.2", "10", "1,500", "0.05"]
