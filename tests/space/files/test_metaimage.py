"""What MetaImage alone has: where its voxels lie, and axes as unit vectors."""

import numpy as np
import pytest
import SimpleITK as sitk

from sam_moe.errors import FileError, GeometryError
from sam_moe.space.files import read
from tests.space.files.conftest import refused


@pytest.mark.parametrize("word", [b"Local", b"local", b"LOCAL"])
def test_local_is_local_in_every_spelling_that_itk_knows(itk, sound, word):
    path = itk("scan.mha", replace=[(b"LOCAL", word)])
    assert np.array_equal(read(path).array, sound.array)


def test_axes_of_an_mha_that_are_no_unit_vectors_are_refused(tmp_path):
    path = tmp_path / "a.mha"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 5, 6), np.uint8)), str(path))
    data = path.read_bytes()
    path.write_bytes(data.replace(b"TransformMatrix = 1 0 0", b"TransformMatrix = 2 0 0"))
    refused(path, "TransformMatrix", "length", kind=GeometryError)


@pytest.mark.parametrize(
    ("name", "dtype"), [("MET_SHORT", np.int16), ("MET_UCHAR", np.uint8), ("MET_FLOAT", np.float32)]
)
def test_each_type_by_its_name(tmp_path, name, dtype):
    array = np.arange(24, dtype=dtype).reshape(2, 3, 4)
    path = tmp_path / "a.mha"
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    assert f"ElementType = {name}".encode() in path.read_bytes()
    assert np.array_equal(read(path).array.numpy(), array.transpose(2, 1, 0))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (b"NDims = 3", b"NDims = 0", "NDims = 0"),
        (b"ElementSpacing = 1 1 1", b"ElementSpacing = 1 0 1", "Expected positive millimetres"),
        (b"ElementType = MET_UCHAR", b"ElementType = MET_CHAR_ARRAY", "is not supported"),
        (b"CompressedData = False", b"HeaderSize = 8", "HeaderSize = 8 is not supported"),
    ],
)
def test_a_header_that_would_make_another_volume_is_refused(tmp_path, old, new, says):
    path = tmp_path / "a.mha"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 5, 6), np.uint8)), str(path))
    data = path.read_bytes()
    assert old in data, data[:400]
    path.write_bytes(data.replace(old, new))
    with pytest.raises(FileError, match=says):
        read(path)


def test_a_header_without_an_end_is_refused(tmp_path):
    path = tmp_path / "a.mha"
    path.write_bytes(b"ObjectType = Image\n" * 2000)
    refused(path, "no MetaImage header", "ElementDataFile")
