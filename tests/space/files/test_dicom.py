import os

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RTStructureSetStorage,
)
from scipy.spatial.transform import Rotation

from sam_moe.errors import FileError, GeometryError
from sam_moe.space.files import holds_dicom, read, read_header


def refused(path, *words, kind=FileError):
    with pytest.raises(kind) as error:
        read(path)
    message = str(error.value)
    assert "Expected" in message
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_a_series_is_read_in_order_of_position_and_in_hounsfield(series):
    volume = read(series())
    assert volume.grid.shape == (5, 6, 8)
    assert volume.grid.axcodes == "LPS"
    assert volume.grid.spacing_mm == pytest.approx((0.8, 0.9, 3.0))
    assert volume.grid.world_of((0, 0, 0)).tolist() == [20, 30, 0]
    assert volume.array[0, 0].tolist() == [10 * n - 1000 for n in range(8)]
    assert volume.array[1, 0].tolist() == [3000] * 8
    assert volume.array[0, 1].tolist() == [10 * n - 1000 for n in range(8)]


def test_one_file_stands_for_its_series(series):
    folder = series()
    series(uid="1.2.840.99", description="other")
    whole = read(sorted(folder.glob("*.dcm"))[-1])
    assert whole.grid.shape == (5, 6, 8)
    assert read_header(sorted(folder.glob("*.dcm"))[-1]).memory_bytes >= 5 * 6 * 8 * 2


def test_a_folder_holds_dicom_by_its_own_files_whatever_they_are_called(series, tmp_path):
    folder = series()
    assert holds_dicom(folder)
    for number, file in enumerate(sorted(folder.glob("*.dcm"))):
        file.rename(folder / f"IM{number}")
    assert holds_dicom(folder)
    (tmp_path / "others").mkdir()
    (tmp_path / "others/DICOMDIR").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "others/notes.txt").write_text("no image")
    assert not holds_dicom(tmp_path / "others")


def test_an_oblique_series_lies_where_simpleitk_puts_it(series):
    folder = series(tilt=25)
    volume = read(folder)
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    theirs = sitk.ReadImage(names)
    for index in ((0, 0, 0), (4, 0, 0), (0, 5, 0), (2, 3, 7)):
        x, y, z = theirs.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(volume.grid.world_of(index), (-x, -y, z), atol=1e-4)
    assert np.array_equal(sitk.GetArrayFromImage(theirs).T, volume.array)


def test_a_missing_slice_is_refused_naming_the_gap(series):
    refused(
        series([0, 1, 2, 4, 5, 6]), "6.000 mm between 6.00 and 12.00", "1 were missing", kind=GeometryError
    )


def test_two_slices_at_one_place_are_refused(series):
    refused(series([0, 1, 2, 2, 3]), "same place, 6.00 mm", kind=GeometryError)


def test_one_slice_is_refused(series):
    refused(series([3]), "at least 2 voxels")


def test_several_series_ask_which_with_all_that_is_needed_to_choose(series):
    series(uid="1.2.840.11", description="thorax soft")
    folder = series(range(4), uid="1.2.840.22", description="scout")
    refused(
        folder,
        "2 series",
        "1.2.840.11 (CT thorax soft, 8 slices",
        "1.2.840.22 (CT scout, 4 slices",
        "one file",
    )


def test_slices_of_several_orientations_are_refused(series):
    series(range(4), uid="1.2.840.33")
    folder = series(range(4, 8), uid="1.2.840.33", tilt=90, folder="other")
    for path in folder.iterdir():
        path.rename(folder.parent / "ct" / f"b{path.name}")
    refused(folder.parent / "ct", "different planes", kind=GeometryError)


def test_a_tilted_gantry_is_refused_as_shear(series):
    def tilt(n, slice_):
        slice_.ImagePositionPatient = [-20, -30 + 0.5 * n, 3.0 * n]

    refused(series(edit=tilt), "sheared", kind=GeometryError)


def test_slices_of_several_sizes_are_refused(series):
    def crop(n, slice_):
        if n == 4:
            slice_.Rows, slice_.PixelData = 5, slice_.PixelData[:50]

    refused(series(edit=crop), "slices differ", "(5, 6)", "(5, 5)")


def test_what_is_no_image_is_refused(series):
    def structures(n, slice_):
        slice_.SOPClassUID = slice_.file_meta.MediaStorageSOPClassUID = RTStructureSetStorage
        for name in ("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit"):
            delattr(slice_, name)

    folder = series([0], edit=structures)
    refused(next(folder.iterdir()), "structure set")
    refused(folder, "no images")


@pytest.mark.parametrize(
    ("tag", "value", "says"),
    [
        ("ImagePositionPatient", None, "position"),
        ("PixelSpacing", None, "pixel spacing"),
        ("ImageOrientationPatient", None, "orientation"),
        ("NumberOfFrames", 3, "frames"),
        ("SeriesInstanceUID", None, "no series number"),
    ],
)
def test_a_slice_without_place_is_refused(series, tag, value, says):
    def edit(n, slice_):
        delattr(slice_, tag) if value is None else setattr(slice_, tag, value)

    path = next(series(edit=edit).iterdir())
    refused(path, says)


def test_pixels_that_cannot_be_decoded_are_refused(series):
    def compress(n, slice_):
        from pydicom.encaps import encapsulate

        slice_.file_meta.TransferSyntaxUID = JPEGLSLossless
        slice_.PixelData = encapsulate([b"this is no JPEG-LS stream "])
        slice_["PixelData"].is_undefined_length = True

    refused(series(edit=compress))


@pytest.mark.parametrize("spacing", [[-0.9, 0.8], [0.9, -0.8], [0, 0.8]])
def test_a_negative_pixel_spacing_is_refused(series, spacing):
    def edit(n, slice_):
        slice_.PixelSpacing = spacing

    folder = series(edit=edit)
    refused(next(folder.iterdir()), "pixel spacing", "positive")


def test_pipes_and_companion_files_in_a_folder_are_passed_over(series):
    folder = series()
    os.mkfifo(folder / "pipe.dcm")
    (folder / "link.dcm").symlink_to("pipe.dcm")
    (folder / "zeros.dcm").symlink_to("/dev/zero")
    first = next(folder.glob("*_*.dcm"))
    (folder / f"._{first.name}").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        ")
    assert read(folder).grid.shape == (5, 6, 8)
    assert read(first).grid.shape == (5, 6, 8)


@pytest.mark.parametrize("tilt", [0, 25, -70])
@pytest.mark.parametrize(("gap", "digits"), [(0.625, 1), (0.625, 2), (1.25, 1), (0.3125, 2), (0.7, 1)])
def test_positions_that_were_rounded_to_a_tenth_are_read(series, caplog, tilt, gap, digits):
    turn = Rotation.from_euler("x", tilt, degrees=True).as_matrix()
    right = [turn @ (-20, -30, gap * n) for n in range(40)]

    def edit(n, slice_):
        slice_.ImagePositionPatient = [round(float(x), digits) for x in right[n]]

    volume = read(series(range(40), tilt=tilt, edit=edit))
    assert volume.grid.spacing_mm[2] == pytest.approx(gap, abs=2e-3)
    there = np.array([volume.grid.world_of((0, 0, n)) for n in range(40)]) * (-1, -1, 1)
    assert np.abs(there - right).max() < 0.05
    assert volume.array[0, 0].tolist() == [10 * n - 1000 for n in range(40)]
    assert ("positions are rounded" in caplog.text) == (digits == 1 and gap != 0.7) or tilt


@pytest.mark.parametrize("gap", [0.3, 0.625, 1.25])
@pytest.mark.parametrize("lost", [[1], [19], [37], [18, 19], [5, 30]])
def test_a_slice_that_is_missing_among_rounded_positions_is_found(series, gap, lost):
    kept = [n for n in range(39) if n not in lost]

    def edit(number, slice_):
        slice_.ImagePositionPatient = [-20, -30, round(gap * kept[number], 1)]

    refused(series(kept, edit=edit), kind=GeometryError)


def test_gaps_that_no_rounding_explains_are_refused(series):
    def edit(n, slice_):
        slice_.ImagePositionPatient = [-20, -30, 1.25 * n + (0.2 if n == 4 else 0)]

    refused(series(edit=edit), "uniform gaps", kind=GeometryError)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("signed", [True, False])
def test_what_the_header_calls_padding_is_read_as_the_least_measured(series, syntax, signed):
    pad = -2000 if signed else 63536  # the same bits

    def edit(n, slice_):
        slice_.file_meta.TransferSyntaxUID = syntax
        pixels = np.full((6, 5), 10 * n + 30, np.int16)
        pixels[:2], pixels[2, 0] = -2000, -150 - n  # noise a little below air
        slice_.PixelRepresentation = 1
        slice_.PixelData = pixels.tobytes()
        slice_.add_new(0x00280120, "SS" if signed else "US", pad)

    volume = read(series(edit=edit))
    assert (volume.array[:, :2] == -1100).all()
    assert volume.array[0, 2].tolist() == [-1150 - n for n in range(8)]
    assert volume.array[0, 3].tolist() == [10 * n - 970 for n in range(8)]


def test_a_padding_value_that_air_has_too_is_left_alone(series):
    def edit(n, slice_):
        slice_.add_new(0x00280120, "US", 0)

    assert read(series(edit=edit)).array[0, 0].tolist() == [10 * n - 1000 for n in range(8)]


def test_axes_that_are_no_unit_vectors_are_refused_and_rounded_ones_taken(series):
    def edit(n, slice_):
        slice_.ImageOrientationPatient = [2, 0, 0, 0, 1, 0]

    refused(next(series(edit=edit).iterdir()), "length", kind=GeometryError)

    def rounded(n, slice_):
        slice_.ImageOrientationPatient = [1.004, 0, 0, 0, 0.996, 0]

    volume = read(series(folder="rounded", edit=rounded))
    assert volume.grid.spacing_mm == pytest.approx((0.8, 0.9, 3.0), abs=1e-9)
