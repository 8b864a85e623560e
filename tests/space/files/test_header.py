"""What a header promises is checked before a voxel is read."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sam_moe.errors import FileError, GeometryError
from sam_moe.space.files.header import (
    Header,
    available_memory_bytes,
    check_affine,
    check_header,
    check_memory,
    spatial_shape,
)

PATH = Path("scan.nii")
HEADER = Header(PATH, "NIfTI", (4, 5, 6), np.dtype("<i2"), np.diag([0.5, 0.5, 2.0, 1.0]))


def sheared(off):
    """Axes of 0.5, 0.5 and 2 mm, of which the second leans towards the first."""
    affine = np.diag([0.5, 0.5, 2.0, 1.0])
    affine[0, 1] = 0.5 * off
    return affine


def test_place_and_size_follow_from_shape_affine_and_type():
    assert HEADER.grid.extent_mm == (2.0, 2.5, 12.0) and HEADER.spacing_mm == (0.5, 0.5, 2.0)
    assert HEADER.data_bytes == 4 * 5 * 6 * 2


@pytest.mark.parametrize(
    ("stored", "scale", "dtype", "bytes_a_voxel"),
    [
        ("<i2", None, torch.int16, 2),  # as stored
        (">i2", None, torch.int16, 2),
        ("<u2", None, torch.int32, 2 + 4),  # torch computes with no uint16
        ("<f8", None, torch.float32, 8 + 4),
        ("<i2", (2.0, 0.0), torch.float32, 2 + 4),
    ],
)
def test_reading_takes_what_is_stored_and_what_it_is_converted_to(stored, scale, dtype, bytes_a_voxel):
    header = replace(HEADER, stored=np.dtype(stored), scale=scale)
    assert header.dtype == dtype and header.memory_bytes == 120 * bytes_a_voxel


def test_more_than_the_limit_is_refused_with_both_sizes():
    check_memory(HEADER, 240)
    with pytest.raises(FileError, match=r"4x5x6 voxels of int16 would take 240 bytes, .* 239 bytes"):
        check_memory(HEADER, 239)
    huge = replace(HEADER, shape=(2**14,) * 3)  # 8 TiB
    with pytest.raises(FileError, match=r"would take 8192\.00 GiB"):
        check_memory(huge, None)
    free = available_memory_bytes()
    assert free is None or 0 <= free < huge.memory_bytes


@pytest.mark.parametrize("kind", ["c8", "S3", "V3"])
def test_voxels_that_are_no_real_numbers_are_refused(kind):
    with pytest.raises(FileError, match="Expected one real number for each voxel"):
        check_header(replace(HEADER, stored=np.dtype(kind)))


@pytest.mark.parametrize("shape", [(1, 5, 6), (4, 5, 1)])
def test_a_single_slice_is_refused(shape):
    with pytest.raises(FileError, match="single slice or row"):
        check_header(replace(HEADER, shape=shape))


def test_an_origin_beyond_all_precision_is_refused_with_the_path():
    affine = np.diag([0.5, 0.5, 2.0, 1.0])
    affine[0, 3] = 1e16
    with pytest.raises(GeometryError, match=r"scan\.nii: voxels of .* from the world's origin"):
        check_header(replace(HEADER, affine=affine))


def test_a_little_shear_is_taken_out_and_the_spacing_kept():
    found = check_affine(PATH, sheared(1e-5))
    axes = found[:3, :3]
    assert_allclose(axes.T @ axes, np.diag([0.25, 0.25, 4.0]), atol=1e-9)
    assert (
        check_affine(PATH, np.diag([0.5, 0.5, 2.0, 1.0])).tolist() == np.diag([0.5, 0.5, 2.0, 1.0]).tolist()
    )


@pytest.mark.parametrize(
    ("affine", "says"),
    [
        (sheared(0.01), r"sheared, its direction cosines are up to 0\.00\d+ off"),
        (np.diag([0.5, np.nan, 2.0, 1.0]), "is not finite"),
        (np.diag([0.5, 1e5, 2.0, 1.0]), "is impossible"),
        (np.diag([0.5, 1e-5, 2.0, 1.0]), "is impossible"),
    ],
)
def test_an_affine_that_no_scanner_gives_is_refused(affine, says):
    with pytest.raises(GeometryError, match=says):
        check_affine(PATH, affine)


def test_further_axes_must_have_one_voxel():
    assert spatial_shape(PATH, (4, 5, 6)) == spatial_shape(PATH, (4.0, 5.0, 6.0, 1, 1)) == (4, 5, 6)
    for sizes, says in (
        ((4, 5), "2 dimensions"),
        ((4, 5, 6, 2), "dimensions 4 and up"),
        ((4, 0, 6), "impossible"),
    ):
        with pytest.raises(FileError, match=says):
            spatial_shape(PATH, sizes)
    with pytest.raises(FileError, match="impossible"):
        spatial_shape(PATH, (4.5, 5, 6))
