"""What is taken up as a scan, and what is refused in one line."""

import time

import nibabel
import numpy as np
import pytest
import torch

from sam_moe.errors import FileError
from sam_moe.predict.opening import opened
from sam_moe.space.files import read_header, write_volume
from sam_moe.space.files.header import available_memory_bytes
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
        with pytest.raises(FileError, match="Expected a path, a Volume"):
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


def test_a_scan_that_fits_but_not_with_its_masks_is_refused_with_the_numbers_before_it_is_read(tmp_path):
    """A real header over a file of holes, which takes no disk."""
    free = available_memory_bytes()
    if free is None:
        pytest.skip("this system does not say how much memory is free")
    side = 2000
    slices = int(0.6 * free) // side**2
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape((side, side, slices))
    header.set_sform(np.eye(4), 1)
    header["magic"], header["vox_offset"] = b"n+1", 352
    path = tmp_path / "large.nii"
    with path.open("wb") as file:
        file.write(header.binaryblock + bytes(4))
        file.truncate(352 + side * side * slices)
    assert read_header(path).memory_bytes < free  # reading alone would be let through
    with pytest.raises(
        FileError, match=r"large\.nii: predicting on 2000x2000x\d+ voxels would take .* GiB"
    ) as found:
        opened(path)
    scan, masks = (f"{n * side * side * slices / 2**30:.2f}" for n in (1, 2))
    assert f"the scan {scan}, its masks {masks}" in str(found.value) and "GiB are free" in str(found.value)


def test_a_volume_is_refused_where_its_masks_do_not_fit():
    huge = torch.zeros(1, dtype=torch.uint8).expand(20_000, 20_000, 20_000)  # one byte that poses as 8 TB
    with pytest.raises(FileError, match=r"the scan: predicting on 20000x20000x20000 voxels would take"):
        opened(volume(huge))
