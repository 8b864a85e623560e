"""Small sound files of every format, to be damaged by the tests."""

import gzip
from types import SimpleNamespace

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from scipy.spatial.transform import Rotation

from sam_moe.errors import FileError
from sam_moe.space.files import read

SHAPE = (5, 6, 7)
AFFINE = np.eye(4)
AFFINE[:3, :3] = Rotation.from_euler("xyz", (10, -20, 5), degrees=True).as_matrix() * (0.8, -0.9, 2.5)
AFFINE[:3, 3] = (-90.5, 126.25, -72.125)


def refused(path, *words, kind=FileError, **options):
    """The message of a file that is refused: one line that names the file and has a remedy."""
    with pytest.raises(kind) as error:
        read(path, **options)
    message = str(error.value)
    assert message.startswith(str(path))
    assert "Expected" in message
    assert "\n" not in message
    for word in words:
        assert word in message, message
    return message


@pytest.fixture
def sound():
    """The affine and the numbers that all sound files of these tests hold."""
    numbers = np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(np.int16) - 50
    return SimpleNamespace(affine=AFFINE, array=numbers, shape=SHAPE)


@pytest.fixture
def nifti(tmp_path, sound):
    """Write a NIfTI file with nibabel; `change` may edit its header's fields; `raw` the bytes."""

    def write(name="scan.nii", array=None, affine=AFFINE, change=None, raw=None, forms=(1, 1)):
        array = sound.array if array is None else array
        image = nibabel.Nifti1Image(array, affine, dtype=array.dtype)
        image.set_sform(affine, forms[0])
        image.set_qform(affine, forms[1])
        data = bytearray(image.to_bytes())
        header = nibabel.Nifti1Header(bytes(data[:348]), check=False)
        for field, value in (change or {}).items():
            header[field] = value
        data[:348] = header.binaryblock
        data = bytes(raw(data) if raw else data)
        path = tmp_path / name
        path.write_bytes(gzip.compress(data, 1) if name.endswith(".gz") else data)
        return path

    return write


@pytest.fixture
def itk(tmp_path, sound):
    """Write a file with SimpleITK, then edit its text header by replacing words."""

    def write(name, array=None, replace=(), compress=False):
        array = sound.array if array is None else array
        image = sitk.GetImageFromArray(array.transpose(*reversed(range(array.ndim))), isVector=False)
        if array.ndim == 3:
            lps = np.diag([-1, -1, 1, 1]) @ AFFINE
            spacing = np.linalg.norm(lps[:3, :3], axis=0)
            image.SetSpacing(spacing.tolist())
            image.SetOrigin(lps[:3, 3].tolist())
            image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
        path = tmp_path / name
        sitk.WriteImage(image, str(path), useCompression=compress)
        data = path.read_bytes()
        for old, new in replace:
            assert old in data, data[:600]
            data = data.replace(old, new, 1)
        path.write_bytes(data)
        return path

    return write


@pytest.fixture
def series(tmp_path):
    """Write a CT series with pydicom: slices 3 mm apart, slice n of value 10 n - 1000, tilted if asked."""

    def write(places=range(8), folder="ct", uid=None, description="thorax", tilt=0.0, edit=None):
        where = tmp_path / folder
        where.mkdir(exist_ok=True)
        uid = uid or generate_uid()
        turn = Rotation.from_euler("x", tilt, degrees=True).as_matrix()
        for n, place in enumerate(places):
            meta = FileMetaDataset()
            meta.MediaStorageSOPClassUID = CTImageStorage
            meta.MediaStorageSOPInstanceUID = generate_uid()
            meta.TransferSyntaxUID = ExplicitVRLittleEndian
            slice_ = pydicom.Dataset()
            slice_.file_meta = meta
            slice_.SOPClassUID, slice_.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
            slice_.SeriesInstanceUID, slice_.StudyInstanceUID = uid, "1.2.3"
            slice_.Modality, slice_.SeriesDescription, slice_.InstanceNumber = "CT", description, n + 1
            slice_.Rows, slice_.Columns, slice_.PixelSpacing = 6, 5, [0.9, 0.8]
            slice_.ImageOrientationPatient = [round(float(x), 10) for x in turn[:, :2].T.ravel()]
            slice_.ImagePositionPatient = [round(float(x), 6) for x in turn @ (-20, -30, 3.0 * place)]
            slice_.SamplesPerPixel, slice_.PhotometricInterpretation = 1, "MONOCHROME2"
            slice_.BitsAllocated = slice_.BitsStored = 16
            slice_.HighBit, slice_.PixelRepresentation = 15, 0
            slice_.RescaleSlope, slice_.RescaleIntercept = 1, -1000
            pixels = np.full((6, 5), 10 * place, np.uint16)
            pixels[0, 1] = 4000  # one column along i, none along j
            slice_.PixelData = pixels.tobytes()
            if edit:
                edit(n, slice_)
            slice_.save_as(where / f"{uid[-6:]}_{97 * n % 101:03d}.dcm", enforce_file_format=True)
        return where

    return write
