"""Curves of growth: medians of a few calls, sizes as they were given."""

import pytest

from benchmarks.speed.sections import growth


def test_a_curve_has_a_time_for_each_size_in_their_order():
    asked = []
    found = growth.curve("clicks", "whole case", (1, 2, 4), asked.append)
    assert found.over == "clicks" and found.sizes == (1.0, 2.0, 4.0)
    assert len(found.curves["whole case"]) == 3
    assert asked == [size for size in (1, 2, 4) for _ in range(4)]  # once to warm up, three times counted


def test_what_must_be_done_before_is_done_before_each_call():
    log = []
    growth.middle(lambda: log.append("run"), lambda: log.append("before"))
    assert log == ["before", "run"] * 4


def test_the_middle_of_a_clock_that_is_given(monkeypatch):
    ticks = iter([0, 1.0, 0, 0.3, 0, 0.1, 0, 0.2])
    monkeypatch.setattr(growth.seconds_of.__globals__["Clock"], "now", lambda: next(ticks))
    assert growth.middle(lambda: None) == pytest.approx(0.2)


def test_a_call_of_more_than_two_seconds_is_called_once(monkeypatch):
    ticks = iter([0, 3.0])
    monkeypatch.setattr(growth.seconds_of.__globals__["Clock"], "now", lambda: next(ticks))
    assert growth.middle(lambda: None) == 3.0
