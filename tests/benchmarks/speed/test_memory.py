"""The rise of the resident memory is that of the work, and what was taken before does not count."""

import math
from pathlib import Path

import pytest
import torch

from benchmarks.speed.memory import rise_of_resident_mb

MEGABYTES = 64


def taken() -> torch.Tensor:
    return torch.ones(MEGABYTES * 2**20, dtype=torch.uint8)


def test_work_that_takes_sixty_four_megabytes_rises_by_as_much():
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the high-water mark is set back by /proc, which this system has not")
    before = taken()  # held already
    rise = rise_of_resident_mb(taken)
    assert 0.9 * MEGABYTES < rise < 1.6 * MEGABYTES and len(before) == MEGABYTES * 2**20


def test_work_that_takes_nothing_hardly_rises():
    rise = rise_of_resident_mb(lambda: None)
    assert math.isnan(rise) or rise < 8
