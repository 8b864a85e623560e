import numpy as np
import pytest
import torch

from sam_moe.cases.reading import read_image, read_labels
from sam_moe.errors import FileError, ValuesError
from sam_moe.space.files import write_volume
from sam_moe.space.volume import Volume
from tests.evaluation.drawn import GRID, image, label_map, write_image


def written(path, array):
    write_volume(path, Volume(array, GRID))
    return path


def test_whole_numbers_in_floats_are_labels(tmp_path):
    found = read_labels(written(tmp_path / "a.nii.gz", label_map().float()))
    assert torch.equal(found.array, label_map().int())


def test_fractions_are_no_labels(tmp_path):
    with pytest.raises(ValuesError, match="fractions in a label map.*threshold"):
        read_labels(written(tmp_path / "a.nii.gz", label_map().float() / 2))


def test_nan_is_no_label(tmp_path):
    array = label_map().float()
    array[0, 0, 0] = float("nan")
    with pytest.raises(ValuesError, match="1 voxels are NaN"):
        read_labels(written(tmp_path / "a.nii.gz", array))


@pytest.mark.parametrize("channel", ["2", "-1"])
def test_a_channel_that_is_not_there_is_refused(tmp_path, channel):
    path = write_image(tmp_path / "a.nii.gz")
    with pytest.raises(FileError, match=f"has no channel {channel}"):
        read_image(path.with_name(f"a.nii.gz#{channel}"))


def test_a_truncated_file_of_channels_is_refused(tmp_path):
    path = write_image(tmp_path / "a.nii.gz")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(FileError, match=r"a\.nii\.gz: "):
        read_image(path.with_name("a.nii.gz#0"))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"gts": np.zeros((3, 3, 3))}, "no array 'imgs'"),
        ({"imgs": np.zeros((3, 3))}, r"shape \(3, 3\)"),
        ({"imgs": np.zeros((3, 3, 3)), "spacing": (1, 2)}, "three positive numbers"),
        ({"imgs": np.zeros((3, 3, 3)), "spacing": (1, 0, 2)}, "three positive numbers"),
        ({"imgs": np.full((3, 3, 3), np.inf)}, "NaN or infinite"),
        ({"imgs": np.full((3, 3, 3), "x")}, "values of type"),
        ({"imgs": np.array([{}], dtype=object)}, "not pickled"),
    ],
)
def test_a_malformed_archive_is_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(FileError, match=message):
        read_image(tmp_path / "a.npz")


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(FileError, match="no array 'imgs' can be read"):
        read_image(tmp_path / "a.npz")


def test_unsigned_intensities_are_kept(tmp_path):
    np.savez(tmp_path / "a.npz", imgs=np.full((2, 3, 4), 60000, dtype=np.uint16), spacing=(1, 1, 1))
    assert read_image(tmp_path / "a.npz").array.shape == (4, 3, 2)
    assert int(read_image(tmp_path / "a.npz").array[0, 0, 0]) == 60000


def test_a_plain_volume_is_read_as_ever(tmp_path):
    assert torch.equal(read_image(write_image(tmp_path / "a.mha")).array, image())


@pytest.mark.parametrize("name", ["patient #1.nii.gz", "a#0.nii.gz", "a.nii.gz#0.nii"])
def test_a_file_with_a_hash_in_its_name_is_no_channel(tmp_path, name):
    assert torch.equal(read_image(write_image(tmp_path / name)).array, image())
