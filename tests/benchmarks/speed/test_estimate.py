"""A million cases: hours from the measured rows, by hand."""

import pytest

from benchmarks.speed import estimate, rows


def test_a_million_cases_take_what_the_slowest_of_gpu_cores_and_files_takes():
    names = (*estimate.HOST, *estimate.WORK)
    found = [
        rows.Row("s", name, seconds=0.1, low=0, high=0, times=1, gflop=50.0, moved_mb=320.0) for name in names
    ]
    lines = estimate.estimate(found, threads=2)
    # 5 stages of 0.1 s on two threads: a million core-seconds over 128 cores; 100 GFLOP at 8 * 100 TFLOP/s
    assert "2.2 h on the cores" in lines[3] and "0.03 h on the GPUs, 100 GFLOP" in lines[3]
    assert "8.9 h to read 160 MB" in lines[4] and "8.9 h" in lines[5]
    assert estimate.estimate(found[1:], threads=2) == []


@pytest.mark.parametrize("missing", [*estimate.HOST, *estimate.WORK])
def test_there_is_no_estimate_where_a_row_is_missing(missing):
    names = {*estimate.HOST, *estimate.WORK} - {missing}
    found = [rows.Row("s", name, seconds=0.1, low=0, high=0, times=1) for name in names]
    assert estimate.estimate(found, threads=2) == []


def test_twice_the_threads_are_twice_the_hours_of_cores():
    names = (*estimate.HOST, *estimate.WORK)
    found = [rows.Row("s", name, 0.36, 0, 0, 1, gflop=1.0, moved_mb=2.0) for name in names]
    one, two = (estimate.estimate(found, threads)[1] for threads in (1, 2))
    # 7 stages of 0.36 s, 10^6 cases, 128 cores: 5.5 h by one thread each
    assert "no GPU: 5.5 h" in one and "no GPU: 10.9 h" in two
