"""Seconds are those of the test scan that is nearest to a size."""

import pytest

from benchmarks.mixture.m4oe.scans import known_cases
from benchmarks.mixture.m4oe.seconds import SIZES, seconds_of
from sam_moe.assemble.load import load_automatic
from sam_moe.processes import threads, use_threads
from tests.benchmarks.mixture.m4oe.tiny import GRID, write_challenge, write_data
from tests.systems.m4oe.automatics import write_automatic


@pytest.fixture(autouse=True)
def threads_as_before():
    before = threads()
    yield
    use_threads(before)


def test_seconds_of_the_sizes_that_there_are_scans_of(tmp_path):
    write_data(tmp_path / "data")
    cases = known_cases(write_challenge(tmp_path), tmp_path)
    model = load_automatic(write_automatic(tmp_path / "model").folder, device="cpu")
    (found,) = seconds_of(model, cases, {"neck": GRID.shape, "leg": (9, 9, 9)})
    assert found.what.startswith("seconds, neck-d, 18 x 16 x 6 voxels") and found.reached > 0
    assert (found.asked, found.least) == (2.0, False)
    assert seconds_of(model, cases) == [] and set(SIZES) == {"abdomen-mr", "headneck-ct"}
