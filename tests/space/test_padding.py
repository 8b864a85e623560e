"""Padding is raised to the least value that was measured, and nothing else is changed."""

import numpy as np
import pytest
import torch

from sam_moe.space.files import read, write_volume
from sam_moe.space.grid import Grid
from sam_moe.space.padding import without_padding
from sam_moe.space.volume import Volume

GRID = Grid(np.diag([1.0, 2, 3, 1]), (20, 20, 10))


@pytest.fixture
def ct(generator):
    """Numbers as of a CT, from air at -1024 to bone."""
    numbers = torch.randint(-1024, 1500, GRID.shape, generator=generator).short()
    numbers[10, 10] = -1024
    return numbers


@pytest.mark.parametrize("value", [-2000, -2048, -3024, -32768])
@pytest.mark.parametrize("kind", [torch.int16, torch.int32, torch.int64, torch.float32])
def test_padding_becomes_the_least_that_was_measured(ct, value, kind):
    padded = ct.to(kind)
    padded[:5] = value
    before = padded.clone()
    found = without_padding(Volume(padded, GRID)).array
    assert found.dtype == kind
    assert (found[:5] == before[5:].min()).all()
    assert torch.equal(found[5:], before[5:])
    assert torch.equal(padded, before)  # the caller's own numbers stay
    assert without_padding(Volume(padded, GRID), in_place=True).array is padded
    assert torch.equal(padded, found)


def test_a_file_is_read_without_padding_whatever_its_layout(tmp_path, ct):
    padded = ct.clone()
    padded[:, 3:5] = -3024
    for name in ("a.nii.gz", "a.nrrd", "a.mha"):
        write_volume(tmp_path / name, Volume(padded, GRID))
        found = read(tmp_path / name).array
        assert (found[:, 3:5] == -1024).all()
        assert torch.equal(found[:, 5:], ct[:, 5:])


def test_what_interpolation_left_between_padding_and_image_is_raised_too(ct):
    padded = ct.float()
    padded[:5] = -2000
    padded[5, :, 0] = -1500.5
    assert without_padding(Volume(padded, GRID)).array.min() >= -1024


@pytest.mark.parametrize(
    "array",
    [
        torch.arange(4000).view(20, 20, 10) - 1100,
        torch.arange(4000).view(20, 20, 10) * 2 - 4096,  # a phase image
        torch.full((20, 20, 10), -2000),
        torch.arange(4000).view(20, 20, 10).to(torch.uint8),
        torch.zeros(20, 20, 10, dtype=torch.bool),
        torch.rand(20, 20, 10),
    ],
    ids=["air", "phase", "nothing else", "unsigned", "bool", "float"],
)
def test_a_scan_without_padding_is_given_back_itself(array):
    volume = Volume(array, GRID)
    assert without_padding(volume) is volume
