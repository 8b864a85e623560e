"""Models are timed in turn, in an order that changes, and ratios are of one round."""

import pytest

from benchmarks.mixture.overhead import Run, ratios


class Sleeper:
    """Counts its calls, and busily does so much work."""

    def __init__(self, name, log, work=0):
        self.name, self.log, self.work = name, log, work

    def __call__(self):
        self.log.append(self.name)
        return sum(range(self.work))


def test_every_round_asks_each_once_and_begins_with_another():
    log, runs = [], {}
    for name in "abc":
        runs[name] = Run(Sleeper(name, log))
    found = ratios(runs, 4)
    assert "".join(log) == "abcbcacababc"
    assert list(found) == ["a", "b", "c"]


def test_what_must_be_done_before_is_done_before_each_time():
    log = []
    ratios({"a": Run(Sleeper("run", log), Sleeper("before", log))}, 3)
    assert log == ["before", "run"] * 3


def test_the_first_is_once_itself_and_ten_times_the_work_is_several_times_as_long():
    found = ratios({"plain": Run(Sleeper("p", [], 20_000)), "more": Run(Sleeper("m", [], 200_000))}, 9)
    assert found["plain"][1] == 1.0
    assert found["more"][1] > 3 and found["more"][0] > found["plain"][0] > 0


@pytest.mark.parametrize("rounds", [1, 2])
def test_milliseconds_are_positive(rounds):
    assert all(ms >= 0 for ms, _ in ratios({"a": Run(lambda: None)}, rounds).values())
