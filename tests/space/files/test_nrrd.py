"""What NRRD alone has: anatomical spaces, axes of channels, fields of many names."""

import numpy as np
import pytest
import SimpleITK as sitk

from sam_moe.space.files import read
from tests.space.files.conftest import refused


@pytest.mark.parametrize(
    ("space", "signs"), [(b"right-anterior-superior", (1, 1, 1)), (b"LAS", (-1, 1, 1)), (b"LPS", (-1, -1, 1))]
)
def test_every_anatomical_space_leads_to_ras(itk, sound, space, signs):
    stored_in_lps = np.diag([-1, -1, 1, 1]) @ sound.affine
    volume = read(itk("scan.nrrd", replace=[(b"left-posterior-superior", space)]))
    np.testing.assert_allclose(volume.grid.affine, np.diag([*signs, 1]) @ stored_in_lps, atol=1e-9)


def test_a_nrrd_without_space_or_directions_warns_of_what_is_taken(tmp_path, caplog):
    path = tmp_path / "bare.nrrd"
    header = b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2 3 4\nspacings: 1 2 3\nencoding: raw\n\n"
    path.write_bytes(header + bytes(range(24)))
    volume = read(path)
    assert "left-posterior-superior is taken" in caplog.text
    assert volume.grid.axcodes == "LPS"
    assert volume.grid.spacing_mm == (1, 2, 3)
    assert volume.array[1, 0, 0] == 1
    theirs = sitk.ReadImage(str(path))
    assert np.array_equal(sitk.GetArrayFromImage(theirs).T, volume.array)
    assert theirs.GetSpacing() == (1, 2, 3)


def test_a_channel_axis_of_one_is_dropped(tmp_path):
    path = tmp_path / "channel.nrrd"
    head = "NRRD0004\ntype: uchar\ndimension: 4\nsizes: 1 2 3 4\nencoding: raw\nspace: RAS\n"
    directions = "space directions: none (1,0,0) (0,2,0) (0,0,3)\nspace origin: (5,6,7)\n\n"
    path.write_bytes((head + directions).encode() + bytes(range(24)))
    volume = read(path)
    assert volume.array.shape == (2, 3, 4)
    assert volume.array[1, 2, 3] == 23
    assert volume.grid.affine.tolist() == [[1, 0, 0, 5], [0, 2, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1]]


NRRD_LINES = {
    "content": "a scan",
    "number": "210",
    "min": "0",
    "old min": "0",
    "oldmax": "9",
    "thicknesses": "1 1 1",
    "centers": "cell cell cell",
    "centerings": "cell cell cell",
    "labels": '"a" "b" "c"',
    "sample units": "HU",
    "spaceunits": '"mm" "mm" "mm"',
    "measurement frame": "(1,0,0) (0,1,0) (0,0,1)",
    "line skip": "0",
}


@pytest.mark.parametrize("field", NRRD_LINES)
def test_every_field_that_does_not_move_the_scan_is_taken_as_itk_takes_it(itk, sound, field):
    path = itk("scan.nrrd", replace=[(b"endian", f"{field}: {NRRD_LINES[field]}\nendian".encode())])
    sitk.ReadImage(str(path))
    np.testing.assert_allclose(read(path).grid.affine, sound.affine, atol=1e-9)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"axis mins: 1 2 3", "axis mins"),
        (b"spacings: 1 2 3", "spacings"),
        (b"space origin: (1,2,3)", "twice"),
        (b"my field: 3", "unknown header field"),
    ],
)
def test_what_itk_refuses_beside_directions_is_refused(itk, line, says):
    path = itk("scan.nrrd", replace=[(b"endian", line + b"\nendian")])
    with pytest.raises(RuntimeError):
        sitk.ReadImage(str(path))
    refused(path, says)


def test_a_place_by_axis_mins_is_refused_rather_than_lost(tmp_path):
    path = tmp_path / "bare.nrrd"
    header = b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2 3 4\nspacings: 1 2 3\nencoding: raw\n"
    path.write_bytes(header + b"axis mins: 10 20 30\n\n" + bytes(range(24)))
    refused(path, "axis mins")
    path.write_bytes(header + b'units: "um" "um" "um"\n\n' + bytes(range(24)))
    refused(path, "units")


def test_a_space_without_origin_is_warned_of(itk, caplog):
    path = itk("scan.nrrd")
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join(line for line in lines if not line.startswith(b"space origin")))
    assert read(path).grid.affine[:3, 3].tolist() == [0, 0, 0]
    assert "no space origin; 0, 0, 0 is taken" in caplog.text
