"""What is taken up as a scan, and what is refused in one line."""

import time

import numpy as np
import pytest
import torch

from sam_moe.errors import FileError
from sam_moe.predict.opening import opened
from sam_moe.space.files import write_volume
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume


def volume(array):
    return Volume(array, Grid(np.eye(4), tuple(array.shape)))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_not_finite_are_refused_in_volumes_too(bad):
    array = torch.rand(8, 8, 8)
    array[1, 2, 3] = bad
    with pytest.raises(FileError, match="NaN or infinite"):
        opened(volume(array))


def test_complex_numbers_and_what_is_no_scan_are_refused():
    with pytest.raises(FileError, match="complex"):
        opened(volume(torch.rand(8, 8, 8) + 1j))
    for other in (None, np.zeros((8, 8, 8)), torch.zeros(8, 8, 8)):
        with pytest.raises(FileError, match="Expected a path or a Volume"):
            opened(other)


def test_unsigned_types_become_ones_that_torch_computes_with():
    array = torch.arange(512, dtype=torch.int32).view(8, 8, 8) + 65000
    found, low = opened(volume(array.to(torch.uint16)))
    assert found.array.dtype == torch.int32 and low == 65000
    assert torch.equal(found.array, array)


def test_a_constant_file_is_refused_by_name_and_not_warned_of_before(tmp_path, caplog):
    write_volume(tmp_path / "flat.nii.gz", volume(torch.full((8, 8, 8), 7)))
    with pytest.raises(FileError, match=r"flat\.nii\.gz is 7\. Expected an image with contrast"):
        opened(tmp_path / "flat.nii.gz")
    assert not caplog.text


def test_an_array_as_files_give_it_is_taken_up_as_quickly_as_any():
    """In files i runs fastest. Looked at across memory, 16 million voxels took over a second."""
    array = torch.arange(16_000_000, dtype=torch.int16).view(160, 250, 400)
    spent = {}
    for name, given in (("k fastest", array), ("i fastest", array.permute(2, 1, 0))):
        scan, trials = volume(given), []
        for _ in range(3):
            start = time.perf_counter()
            opened(scan)
            trials.append(time.perf_counter() - start)
        spent[name] = min(trials)
    assert spent["i fastest"] < 8 * spent["k fastest"] + 0.02
