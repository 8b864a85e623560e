import math

import pytest

from benchmarks.speed import rows


class Clockwork:
    """Counts its calls; takes no time worth telling."""

    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1


def rates():
    found = rows.Rates()
    found.matmul_gflop_s, found.copy_mb_s = [100.0, 200.0, 300.0], [1000.0]
    return found


def of(task, seconds, plain=()):
    measured = rows.Measured(task)
    measured.ours, measured.plain = list(seconds), list(plain)
    measured.ratios = [task.plain_times * p / s for p, s in zip(plain, seconds, strict=False)]
    return measured.row("section", rates())


def test_a_row_has_the_median_and_the_quartiles():
    row = of(rows.Task("sum", Clockwork()), [4.0, 1.0, 2.0, 3.0, 5.0])
    assert (row.low, row.seconds, row.high) == (2.0, 3.0, 4.0) and row.times == 5
    assert row.ratio is None and row.share is None


def test_thirteen_plain_labels_are_thirteen_times_one():
    task = rows.Task("targets", Clockwork(), Clockwork(), plain_times=13)
    row = of(task, [2.0, 2.0], [4.0, 4.0])
    assert row.plain_seconds == 52.0 and row.ratio == 26.0


def test_the_share_of_a_floor_is_its_time_by_the_time_taken():
    assert of(rows.Task("product", Clockwork(), gflop=100.0), [2.0]).share == 0.25  # 0.5 s at 200 a second
    copied = of(rows.Task("copy", Clockwork(), moved_mb=500.0), [1.0])
    assert copied.share == 0.5 and copied.floor == "copy"


def test_the_plain_way_is_measured_after_each_of_ours_and_in_no_more_rounds_than_told():
    ours, plain, before = Clockwork(), Clockwork(), Clockwork()
    task = rows.Task("both", ours, plain, repeats=2, plain_rounds=1, before=before)
    measured = rows.Measured(task)
    warm = ours.calls
    for number in range(3):
        measured.once_more(number)
    assert ours.calls - warm == len(measured.ours) == 6
    assert len(measured.plain) == len(measured.ratios) == 2
    assert plain.calls == 3  # one of them to warm up
    assert before.calls == ours.calls


@pytest.mark.parametrize(
    "seconds, text",
    [(12.345, "12.3 s"), (0.01234, "12.3 ms"), (1.5e-5, "15 µs"), (1.0, "1 s"), (0.9996, "1 s")],
)
def test_durations_have_three_digits(seconds, text):
    assert rows.duration(seconds) == text


def test_the_table_says_what_was_reached_and_what_was_missed():
    fast = of(rows.Task("fast", Clockwork(), Clockwork(), "the old way", bar=12), [1.0], [15.0])
    slow = of(rows.Task("slow", Clockwork(), bar_s=0.1), [0.2])
    lines = rows.table([fast, slow]).splitlines()
    assert next(x for x in lines if "fast" in x).endswith("reached 12x")
    assert next(x for x in lines if "slow" in x).endswith("MISSED 100 ms")
    assert lines[-1] == "[1] the old way"


def test_what_was_not_measured_is_null_in_json():
    row = rows.Row("s", "n", seconds=1 / 3, low=0.1, high=0.5, times=3, peak_mb=math.nan)
    (record,) = rows.as_json([row])
    assert record["peak_mb"] is None and record["ratio"] is None and record["seconds"] == 0.3333
