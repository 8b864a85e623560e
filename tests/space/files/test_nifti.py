import gzip
import logging
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from sam_moe.errors import FileError, GeometryError
from sam_moe.space.files import read, read_header
from tests.space.files.conftest import refused


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz", "SCAN.NII.GZ"])
def test_a_sound_file_gives_its_numbers_and_place(nifti, sound, name):
    volume = read(nifti(name))
    assert volume.array.dtype == torch.int16
    assert np.array_equal(volume.array, sound.array)
    np.testing.assert_allclose(volume.grid.affine, sound.affine, atol=1e-5)


def test_the_header_tells_what_reading_takes(nifti):
    header = read_header(nifti(array=np.zeros((4, 5, 6), np.float64)))
    assert header.shape == (4, 5, 6)
    assert header.dtype == torch.float32
    assert header.memory_bytes == 120 * 8 + 120 * 4
    assert header.spacing_mm == pytest.approx((0.8, 0.9, 2.5))
    assert header.format == "NIfTI"


@pytest.mark.parametrize(
    ("stored", "given"),
    [
        ("u1", torch.uint8),
        ("i1", torch.int8),
        ("<i2", torch.int16),
        (">i2", torch.int16),
        ("u2", torch.int32),
        ("i4", torch.int32),
        ("u4", torch.int64),
        ("i8", torch.int64),
        ("u8", torch.int64),
        ("f4", torch.float32),
        (">f4", torch.float32),
        ("f8", torch.float32),
    ],
)
def test_every_real_type_becomes_one_that_torch_computes_with(tmp_path, sound, stored, given):
    array = (np.abs(sound.array) % 100).astype(stored)
    header = nibabel.Nifti1Header(endianness=">" if stored.startswith(">") else "<")
    header.set_data_dtype(array.dtype)
    nibabel.save(nibabel.Nifti1Image(array, sound.affine, header), tmp_path / "scan.nii")
    volume = read(tmp_path / "scan.nii")
    assert volume.array.dtype == given
    assert np.array_equal(volume.array, np.abs(sound.array) % 100)


def test_unsigned_64_bits_beyond_signed_ones_are_refused(nifti):
    refused(nifti(array=np.full((3, 3, 3), 2**63, np.uint64)), "do not fit")


def test_slope_and_intercept_are_applied(nifti, sound):
    volume = read(nifti(change={"scl_slope": 0.5, "scl_inter": -3}))
    assert volume.array.dtype == torch.float32
    np.testing.assert_allclose(volume.array, sound.array * 0.5 - 3)


# --- the table of what readers silently get wrong, row by row ---


def test_a_truncated_file_is_refused(nifti):
    refused(nifti(raw=lambda data: data[:-100]), "truncated", "420", "(5, 6, 7)")
    refused(nifti("scan.nii.gz", raw=lambda data: data[:-100]), "truncated")
    path = nifti("other.nii.gz")
    path.write_bytes(path.read_bytes()[:-20])
    refused(path, "end early")
    refused(nifti(raw=lambda data: data[:200]), "no NIfTI header")


def test_more_bytes_than_the_header_promises_are_refused(nifti):
    refused(nifti(change={"dim": [3, 5, 6, 6, 1, 1, 1, 1]}), "more bytes")


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
@pytest.mark.parametrize("offset", [1e6, 1e30, 0, -5, np.nan, np.inf])
def test_voxels_that_begin_nowhere_are_refused(nifti, name, offset):
    refused(nifti(name, change={"vox_offset": offset}), "byte")


def test_a_gzip_stream_with_a_bad_checksum_is_refused(nifti):
    path = nifti("scan.nii.gz")
    data = bytearray(path.read_bytes())
    data[-6] ^= 1
    path.write_bytes(data)
    refused(path, "damaged")


def test_bytes_after_a_gzip_stream_are_refused(nifti):
    path = nifti("scan.nii.gz")
    path.write_bytes(path.read_bytes() + b"junk")
    refused(path, "followed by other bytes")


def test_a_gzip_file_of_several_streams_is_read(nifti, sound):
    data = nifti("scan.nii").read_bytes()
    path = nifti("scan.nii.gz")
    path.write_bytes(gzip.compress(data[:400]) + gzip.compress(data[400:]) + b"\0" * 64)
    assert np.array_equal(read(path).array, sound.array)


def test_a_decompression_bomb_is_refused_by_its_header(nifti):
    path = nifti("scan.nii.gz", change={"dim": [3, 1000, 1000, 1000, 1, 1, 1, 1]})
    assert path.stat().st_size < 1000
    refused(path, "1.86 GiB", "limit of 1.00 GiB", "memory_limit_bytes", memory_limit_bytes=2**30)
    refused(path, "truncated")  # where the memory is there


def test_a_bomb_behind_a_small_header_stops_at_the_first_byte_too_many(nifti):
    path = nifti("scan.nii.gz", raw=lambda data: bytes(data) + bytes(50_000_000))
    assert path.stat().st_size < 300_000
    refused(path, "more bytes")


def test_dimensions_of_32767_are_refused_with_the_estimate(nifti):
    path = nifti(change={"dim": [3, 32767, 32767, 32767, 1, 1, 1, 1]})
    refused(path, "would take 65530.00 GiB")
    assert read_header(path).memory_bytes == 32767**3 * 2


@pytest.mark.parametrize("size", [0, -5])
def test_dimensions_below_one_are_refused(nifti, size):
    refused(nifti(change={"dim": [3, 5, size, 7, 1, 1, 1, 1]}), "impossible")


@pytest.mark.parametrize(("count", "says"), [(0, "dim[0]"), (8, "no NIfTI header"), (-1, "no NIfTI header")])
def test_an_impossible_number_of_dimensions_is_refused(nifti, count, says):
    refused(nifti(change={"dim": [count, 5, 6, 7, 1, 1, 1, 1]}), says)


@pytest.mark.parametrize("size", [0.0, np.nan, -0.8, np.inf])
def test_voxel_sizes_that_are_none_are_refused(nifti, size):
    refused(nifti(change={"pixdim": [1, size, 0.9, 2.5, 0, 0, 0, 0]}), "pixdim")


def test_a_sheared_affine_is_refused_with_its_numbers(nifti, sound):
    affine = sound.affine.copy()
    affine[:3, 2] += affine[:3, 0] * 0.1
    path = nifti(affine=affine, forms=(1, 0))
    refused(path, "sheared", "0.03", kind=GeometryError)


def test_a_trace_of_shear_is_taken_out(nifti, sound):
    affine = sound.affine.copy()
    affine[:3, 1] += affine[:3, 0] * 5e-5
    path = nifti(affine=affine, forms=(1, 0))
    axes = read(path).grid.affine[:3, :3] / read(path).grid.spacing_mm
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(read(path).grid.affine, affine, atol=1e-4)


def test_without_sform_and_qform_the_convention_is_logged(nifti, caplog):
    path = nifti(forms=(0, 0))
    with caplog.at_level(logging.WARNING):
        volume = read(path)
    assert "neither sform nor qform" in caplog.text
    assert "nibabel's convention" in caplog.text
    np.testing.assert_allclose(volume.grid.affine, nibabel.load(path).affine)
    np.testing.assert_allclose(volume.grid.corners_mm.mean(axis=0), (0, 0, 0), atol=1e-6)


def test_the_sform_is_used_and_a_different_qform_warned_of(nifti, sound, caplog):
    with caplog.at_level(logging.WARNING):
        read(nifti())
    assert not caplog.text
    path = nifti(change={"qoffset_x": sound.affine[0, 3] + 10})
    with caplog.at_level(logging.WARNING):
        volume = read(path)
    assert "sform and qform" in caplog.text
    np.testing.assert_allclose(volume.grid.affine, sound.affine, atol=1e-5)


def test_the_qform_serves_where_there_is_no_sform(nifti, sound):
    volume = read(nifti(forms=(0, 1)))
    np.testing.assert_allclose(volume.grid.affine, sound.affine, atol=1e-4)


def test_an_impossible_quaternion_is_refused(nifti):
    refused(nifti(forms=(0, 1), change={"quatern_b": 3.0}), "orientation")


def test_an_affine_of_nan_is_refused(nifti):
    refused(nifti(change={"srow_x": np.nan}), "not finite", kind=GeometryError)


def test_metres_are_converted(nifti, sound, caplog):
    affine = sound.affine.copy()
    affine[:3] /= 1000
    volume = read(nifti(affine=affine, change={"xyzt_units": 1}))
    assert "meter" in caplog.text
    np.testing.assert_allclose(volume.grid.affine, sound.affine, atol=1e-4)


def test_a_fourth_dimension_of_one_is_dropped(nifti, sound):
    volume = read(nifti(array=sound.array[..., None]))
    assert np.array_equal(volume.array, sound.array)


def test_a_time_series_is_refused(nifti):
    refused(nifti(array=np.zeros((5, 6, 7, 3), np.int16)), "4 dimensions", "(5, 6, 7, 3)")


def test_colour_is_refused(nifti):
    rgb = np.zeros((5, 6, 7), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    refused(nifti(array=rgb), "not supported", "grey")


def test_complex_numbers_are_refused(nifti):
    refused(nifti(array=np.ones((5, 6, 7), np.complex64)), "complex64")


def test_what_is_not_finite_is_counted_and_refused(nifti):
    array = np.zeros((5, 6, 7), np.float32)
    array[0, 0, :3] = np.nan
    refused(nifti(array=array), "3 voxels are NaN and 0 infinite, of 210")
    refused(nifti(array=np.full((5, 6, 7), np.nan, np.float32)), "210 voxels are NaN, all voxels")
    array = np.zeros((5, 6, 7), np.float32)
    array[1] = np.inf
    refused(nifti(array=array), "42 infinite")
    refused(nifti(array=np.full((5, 6, 7), 1e300)), "210 infinite")  # infinite as float32


def test_an_image_of_nothing_is_read_with_a_warning(nifti, caplog):
    assert (read(nifti(array=np.zeros((5, 6, 7), np.uint8))).array == 0).all()
    assert "every voxel is 0" in caplog.text


@pytest.mark.parametrize("shape", [(5, 6, 1), (1, 6, 7), (5, 6)])
def test_a_single_slice_is_refused(nifti, shape):
    refused(nifti(array=np.zeros(shape, np.int16)), "at least 2 voxels along each axis")


def test_the_header_of_a_pair_is_refused_without_opening_the_other_file(nifti):
    refused(nifti(change={"magic": b"ni1"}), "another file")


def test_an_unknown_type_is_refused(nifti):
    refused(nifti(change={"datatype": 77}), "unknown type")


# --- NIfTI-2, and headers that rounding or a careless writer left a little off ---


def nifti2(path, array, affine, big=False, extension=None, forms=(1, 1), change=None):
    """Write NIfTI-2 with nibabel; `change` may edit its header's fields."""
    header = nibabel.Nifti2Header(endianness=">" if big else "<")
    header.set_data_dtype(array.dtype.newbyteorder(">" if big else "<"))
    image = nibabel.Nifti2Image(array, affine, header)
    image.set_sform(affine, forms[0])
    image.set_qform(affine, forms[1])
    if extension is not None:
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension(6, extension))
    data = bytearray(image.to_bytes())
    if change:
        header = nibabel.Nifti2Header(bytes(data[:540]), check=False)
        for field, value in change.items():
            header[field] = value
        data[:540] = header.binaryblock
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)
    return path


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
@pytest.mark.parametrize("kind", ["u1", "i2", "u4", "f4", "f8"])
def test_nifti_2_is_read_as_nibabel_reads_it(tmp_path, sound, big, name, kind):
    array = (np.abs(sound.array) % 100).astype(kind)
    path = nifti2(tmp_path / name, array, sound.affine, big, extension=b"a comment of a scanner")
    volume, theirs = read(path), nibabel.load(path)
    assert isinstance(theirs, nibabel.Nifti2Image)
    np.testing.assert_allclose(volume.grid.affine, theirs.affine, atol=1e-12)
    assert np.array_equal(volume.array, np.asarray(theirs.dataobj))
    qform = nifti2(tmp_path / name, array, sound.affine, big, forms=(0, 1))
    np.testing.assert_allclose(read(qform).grid.affine, nibabel.load(qform).affine, atol=1e-12)


def test_nifti_2_with_slope_is_scaled(tmp_path, sound):
    path = nifti2(tmp_path / "a.nii", sound.array, sound.affine, change={"scl_slope": 0.5, "scl_inter": -3})
    np.testing.assert_allclose(read(path).array, sound.array * 0.5 - 3)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"vox_offset": 352}, "vox_offset"),
        ({"vox_offset": -1}, "vox_offset"),
        ({"vox_offset": 2**62}, "vox_offset"),
        ({"dim": [3, 2**30, 2**30, 2**30, 1, 1, 1, 1]}, "would take"),
        ({"dim": [3, 5, -6, 7, 1, 1, 1, 1]}, "impossible"),
        ({"magic": b"ni2"}, "another file"),
        ({"magic": b"n+3"}, "no NIfTI header"),
        ({"eol_check": [10, 10, 26, 10]}, "as binary"),
        ({"datatype": 77}, "unknown type"),
        ({"xyzt_units": 7}, "orientation"),
    ],
)
def test_a_bad_header_of_nifti_2_is_refused(tmp_path, sound, change, says):
    refused(nifti2(tmp_path / "a.nii", sound.array, sound.affine, change=change), says)


def test_an_axis_beyond_32767_is_read(tmp_path):
    array = np.zeros((40_000, 2, 2), np.uint8)
    array[39_999, 1, 0] = 7
    volume = read(nifti2(tmp_path / "long.nii.gz", array, np.eye(4)))
    assert volume.array[39_999, 1, 0] == 7


@pytest.mark.parametrize("handedness", [0.0, 1.0])
@pytest.mark.parametrize("forms", [(1, 1), (0, 1), (1, 0)])
def test_a_handedness_of_0_means_1(nifti, sound, handedness, forms):
    affine = sound.affine.copy()
    affine[:3, 1] *= -1  # right-handed, as the quaternion alone says it
    path = nifti(affine=affine, forms=forms, change={"pixdim": [handedness, 0.8, 0.9, 2.5, 0, 0, 0, 0]})
    np.testing.assert_allclose(read(path).grid.affine, affine, atol=1e-5)


def test_a_handedness_that_is_no_number_is_refused_where_it_counts(nifti, sound, caplog):
    change = {"pixdim": [np.nan, 0.8, 0.9, 2.5, 0, 0, 0, 0]}
    refused(nifti(forms=(0, 1), change=change), "handedness")
    np.testing.assert_allclose(read(nifti(change=change)).grid.affine, sound.affine, atol=1e-5)
    assert "the qform cannot be computed" in caplog.text and "the sform is used" in caplog.text


@pytest.mark.parametrize("length", [1.0000003, 1.00001, 1.001, 3.0, np.nan])
def test_a_spoilt_qform_beside_a_good_sform_is_left_aside(nifti, sound, length):
    path = nifti(change={"quatern_b": 0, "quatern_c": 0, "quatern_d": length})
    np.testing.assert_allclose(read(path).grid.affine, sound.affine, atol=1e-5)


@pytest.mark.parametrize("length", [1.0000003, 1.00001, 1.0009])
def test_a_quaternion_a_hair_too_long_is_shortened(nifti, length):
    affine = np.diag([-0.8, -0.9, 2.5, 1])  # half a turn about the third axis: d = 1
    path = nifti(affine=affine, forms=(0, 1), change={"quatern_d": length})
    np.testing.assert_allclose(read(path).grid.affine, affine, atol=2e-3)
    refused(nifti(affine=affine, forms=(0, 1), change={"quatern_d": 1.01}), "orientation")


def test_a_gzip_file_of_many_empty_streams_takes_linear_time(nifti, sound):
    data = nifti("scan.nii").read_bytes()
    path = nifti("scan.nii.gz")
    path.write_bytes(gzip.compress(data[:400]) + gzip.compress(b"") * 100_000 + gzip.compress(data[400:]))
    begin = time.process_time()
    assert np.array_equal(read(path).array, sound.array)
    assert time.process_time() - begin < 4  # 2 MB, read twice: 0.3 s on a free core; before, 6 s


THEIRS = sorted((Path(nibabel.__file__).parent / "tests" / "data").glob("*.nii*"))


@pytest.mark.skipif(not THEIRS, reason="this nibabel comes without its test data")
@pytest.mark.parametrize("path", THEIRS, ids=lambda path: path.name)
def test_what_nibabel_tests_with_is_refused_or_what_nibabel_reads(path):
    try:
        volume = read(path)
    except (FileError, GeometryError) as error:
        assert "\n" not in str(error)
    else:
        theirs = nibabel.load(path)
        np.testing.assert_allclose(volume.grid.affine, theirs.affine, atol=1e-4)
        np.testing.assert_allclose(volume.array, np.squeeze(theirs.get_fdata()), rtol=1e-6)
