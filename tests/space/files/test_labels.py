"""Label maps are whole numbers, however a tool stored them."""

import nibabel
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sam_moe.errors import ValuesError
from sam_moe.space.files import read, read_label_map

LABELS = np.zeros((5, 6, 7))
LABELS[1:3, 1:4, 2] = 1
LABELS[3, :, 4:] = 2


def saved(path, labels, kind):
    """As nibabel saves numbers of floating point under a header that wants whole ones."""
    header = nibabel.Nifti1Header()
    header.set_data_dtype(kind)
    nibabel.save(nibabel.Nifti1Image(labels.astype(np.float64), np.eye(4), header), path)
    return path


def test_labels_that_nibabel_scaled_come_back_whole(tmp_path):
    path = saved(tmp_path / "a.nii.gz", LABELS, np.int16)
    assert float(read(path).array[1, 1, 2]) == pytest.approx(1.0000153, abs=1e-7)
    volume = read_label_map(path)
    assert volume.array.dtype == torch.int32
    assert np.array_equal(volume.array, LABELS)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(labels=st.lists(st.integers(0, 100), min_size=1, max_size=8), kind=st.sampled_from(["u1", "i2", "u2"]))
def test_labels_come_back_whatever_whole_type_they_were_squeezed_into(tmp_path, labels, kind):
    array = np.zeros((3, 3, 3))
    array.flat[: len(labels)] = labels
    assert np.array_equal(read_label_map(saved(tmp_path / "a.nii", array, kind)).array, array)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32, np.float64])
def test_probabilities_are_no_labels(tmp_path, kind):
    path = saved(tmp_path / "a.nii", np.linspace(0, 1, 210).reshape(5, 6, 7), kind)
    with pytest.raises(ValuesError, match=r"fractions in a label map\. Expected whole numbers"):
        read_label_map(path)


def test_whole_types_stay_as_they_are_and_nothing_is_remarked(tmp_path, caplog):
    nibabel.save(nibabel.Nifti1Image(np.zeros((5, 6, 7), np.uint8), np.eye(4)), tmp_path / "a.nii")
    assert read_label_map(tmp_path / "a.nii").array.dtype == torch.uint8
    assert not caplog.text


def test_labels_beyond_32_bits_are_refused(tmp_path):
    nibabel.save(nibabel.Nifti1Image(LABELS.astype(np.float32) * 1e10, np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(ValuesError, match="labels beyond 2147483647"):
        read_label_map(tmp_path / "a.nii")
