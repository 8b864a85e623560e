"""What things cost in operations, against what is stored: times on shared machines prove nothing.

Where a change is meant, `python -m benchmarks.speed.operations --renew` stores the new counts.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
STORED = json.loads(Path(__file__).with_name("operations.json").read_text("utf-8"))
EXACT = ("encoder runs", "decoder runs")
TOLERANCE = 0.01  # libraries round up buffers, and write headers of their own


@pytest.fixture(scope="module")
def counted():
    """Counted in a process of its own: what pytest itself reads must not count."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.speed.operations"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_nothing_costs_more_operations_than_it_did_or_fewer_without_being_noted(counted):
    if not Path("/proc/self/io").exists():
        pytest.skip("bytes read from files are counted by /proc, which this system has not")
    assert counted.keys() == STORED.keys()
    changed = {
        name: f"{STORED[name]:,} -> {count:,}"
        for name, count in counted.items()
        if abs(count - STORED[name]) > TOLERANCE * STORED[name] * (not name.endswith(EXACT))
    }
    assert changed == {}, "if it is meant: python -m benchmarks.speed.operations --renew"


def test_a_click_encodes_once_and_further_ones_never():
    assert STORED["first click: encoder runs"] == STORED["first click: decoder runs"] == 1
    assert STORED["further click: encoder runs"] == 0 and STORED["further click: decoder runs"] == 1
    assert STORED["a click taken back: encoder runs"] == STORED["a click taken back: decoder runs"] == 0


@pytest.mark.parametrize("k", [1, 2, 4])
def test_only_the_chosen_experts_decode(k):
    assert STORED[f"further click by {k} of 16 experts: decoder runs"] == k
    assert STORED[f"further click by {k} of 16 experts: encoder runs"] == 0


def test_more_experts_cost_a_click_by_one_of_them_no_product_more():
    of_four, of_sixteen = (STORED[f"further click by 1 of {count} experts: flop"] for count in (4, 16))
    assert of_sixteen - of_four < 0.01 * of_four


def test_the_padding_is_never_multiplied():
    plain, ours = (STORED[f"public size, encoding{way}: flop"] for way in (" plainly", ""))
    assert plain / ours > 3.5  # 368.6 and 104.7 GFLOP


def test_a_scan_is_read_once():
    size, read = STORED["a scan in a file: bytes"], STORED["reading it: bytes"]
    assert size <= read < size + 2 * 2**20  # the header's piece comes before


def test_a_region_costs_the_same_on_any_scan():
    small, large = (STORED[f"cutting a region from {edge}^3 voxels: bytes moved"] for edge in (128, 256))
    assert small == large
    small, large = (STORED[f"its mask on {edge}^3 voxels: bytes moved"] for edge in (128, 256))
    assert large - small <= 1.01 * (256**3 - 128**3)  # the mask alone is larger, a byte a voxel
