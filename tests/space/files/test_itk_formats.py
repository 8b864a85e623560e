import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from sam_moe.errors import FileError, GeometryError
from sam_moe.space.files import read, read_header


def refused(path, *words, kind=FileError, **options):
    with pytest.raises(kind) as error:
        read(path, **options)
    message = str(error.value)
    assert message.startswith(str(path))
    assert "Expected" in message
    assert "\n" not in message
    for word in words:
        assert word in message, message


BOTH = pytest.mark.parametrize("name", ["scan.mha", "scan.nrrd"])


@BOTH
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("kind", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_what_simpleitk_writes_is_read_with_its_place(itk, sound, name, compress, kind):
    array = (sound.array % 100).astype(kind)
    volume = read(itk(name, array, compress=compress))
    assert np.array_equal(volume.array, array)
    np.testing.assert_allclose(volume.grid.affine, sound.affine, atol=1e-9)
    assert volume.array.dtype in (torch.float32 if kind[0] == "f" else volume.array.dtype,)


@BOTH
def test_the_other_byte_order_is_read(itk, sound, name):
    words = {"scan.mha": (b"OrderMSB = False", b"OrderMSB = True"), "scan.nrrd": (b"little", b"big")}
    volume = read(itk(name, sound.array.byteswap(), replace=[words[name]]))
    assert np.array_equal(volume.array, sound.array)


@BOTH
def test_a_truncated_file_is_refused(itk, name):
    for compress in (False, True):
        path = itk(name, compress=compress)
        path.write_bytes(path.read_bytes()[:-30])
        refused(path, "truncated")
    path.write_bytes(path.read_bytes()[:60])
    refused(path, "header")


@BOTH
def test_a_damaged_stream_is_refused(itk, name):
    path = itk(name, compress=True)
    data = bytearray(path.read_bytes())
    data[-6] ^= 0xFF
    path.write_bytes(data)
    refused(path, "damaged")


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("scan.mha", b"ElementDataFile = LOCAL", b"ElementDataFile = secret.raw"),
        ("scan.mha", b"ElementDataFile = LOCAL", b"ElementDataFile = LIST"),
        ("scan.nrrd", b"encoding: raw", b"encoding: raw\ndata file: secret.raw"),
        ("scan.nrrd", b"encoding: raw", b"encoding: raw\ndatafile: secret.raw"),
        ("scan.nrrd", b"encoding: raw", b"encoding: raw\nDATA FILE:secret.raw"),
    ],
)
def test_a_file_that_a_header_points_to_is_never_opened(itk, tmp_path, name, old, new, monkeypatch):
    (tmp_path / "secret.raw").write_bytes(bytes(420))
    path = itk(name, replace=[(old, new)])
    opened = []
    real = os.open
    monkeypatch.setattr(os, "open", lambda p, *a, **k: (opened.append(Path(p).name), real(p, *a, **k))[1])
    refused(path, "points to another file", "not opened")
    assert set(opened) == {name}


@BOTH
def test_huge_sizes_are_refused_before_reading(itk, name):
    path = itk(name, replace=[(b"5 6 7", b"32767 32767 32767")])
    refused(path, "65530.00 GiB")
    assert read_header(path).shape == (32767,) * 3


@BOTH
@pytest.mark.parametrize("sizes", [b"5 6 0", b"5 6 -7", b"5 6 x", b"5 6", b"5 6 7.5", b"nan 6 7"])
def test_sizes_that_are_none_are_refused(itk, name, sizes):
    refused(itk(name, replace=[(b"5 6 7", sizes)]))


@BOTH
def test_another_dimension_is_refused(itk, name):
    refused(itk(name, np.zeros((4, 5, 6, 3), np.int16)), "4 dimensions")
    refused(itk(name, np.zeros((4, 5), np.int16)), "2 dimensions")
    refused(itk(name, np.zeros((4, 5, 1), np.int16)), "single slice")


@BOTH
def test_colour_and_complex_numbers_are_refused(tmp_path, name):
    colour = sitk.GetImageFromArray(np.zeros((4, 5, 6, 3), np.uint8), isVector=True)
    sitk.WriteImage(colour, str(tmp_path / name))
    refused(tmp_path / name)
    if name == "scan.nrrd":
        sitk.WriteImage(sitk.GetImageFromArray(np.ones((4, 5, 6), np.complex64)), str(tmp_path / name))
        refused(tmp_path / name)


@BOTH
def test_values_that_are_not_finite_are_refused(itk, name):
    refused(itk(name, np.full((4, 5, 6), np.nan, np.float32)), "120 voxels are NaN")


@pytest.mark.parametrize(
    ("name", "old", "new", "says", "kind"),
    [
        ("scan.mha", b"BinaryData = True", b"BinaryData = False", "BinaryData", FileError),
        ("scan.mha", b"MET_SHORT", b"MET_STRING", "MET_STRING", FileError),
        ("scan.mha", b"NDims = 3", b"NDims = 99", "NDims", FileError),
        ("scan.mha", b"ElementSpacing", b"SomethingElse", "ElementSpacing", FileError),
        ("scan.mha", b"ElementSpacing = 0.", b"ElementSpacing = -0.", "ElementSpacing", FileError),
        ("scan.nrrd", b"encoding: raw", b"encoding: hex", "hex", FileError),
        ("scan.nrrd", b"endian: little", b"endian: middle", "middle", FileError),
        ("scan.nrrd", b"type: short", b"type: block", "block", FileError),
        ("scan.nrrd", b"left-posterior-superior", b"scanner-xyz", "scanner-xyz", FileError),
        ("scan.nrrd", b"space directions: (-0.", b"space directions: (-3.", "sheared", GeometryError),
        ("scan.nrrd", b"space directions: (", b"space directions: (x", "space directions", FileError),
        ("scan.nrrd", b"space origin: (", b"space origin: (nan", "space origin", FileError),
        ("scan.nrrd", b"endian", b"byte skip: 7\nendian", "byte skip", FileError),
        ("scan.nrrd", b"endian", b'space units: "um" "um" "um"\nendian', "space units", FileError),
    ],
)
def test_headers_that_mean_something_else_are_refused(itk, name, old, new, says, kind):
    refused(itk(name, replace=[(old, new)]), says, kind=kind)


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


# --- names that are off by a letter ---


NRRD_FIELDS = [
    b"type",
    b"dimension",
    b"space",
    b"sizes",
    b"space directions",
    b"kinds",
    b"endian",
    b"encoding",
]
NRRD_FIELDS += [b"space origin"]
MHA_FIELDS = [
    b"NDims",
    b"BinaryData",
    b"BinaryDataByteOrderMSB",
    b"CompressedData",
    b"TransformMatrix",
    b"Offset",
]
MHA_FIELDS += [b"ElementSpacing", b"DimSize", b"ElementType", b"ElementDataFile"]


@pytest.mark.parametrize(
    ("name", "field"),
    [("scan.nrrd", f) for f in NRRD_FIELDS] + [("scan.mha", f) for f in MHA_FIELDS],
)
def test_one_flipped_bit_in_a_fields_name_never_gives_another_volume(itk, sound, name, field):
    array = sound.array.byteswap()  # big: so that a lost byte order would show
    words = {"scan.mha": (b"OrderMSB = False", b"OrderMSB = True"), "scan.nrrd": (b"little", b"big")}
    whole = itk(name, array, replace=[words[name]]).read_bytes()
    sign = b": " if name.endswith("nrrd") else b" = "
    at = whole.index(b"\n" + field + sign) + 1
    path = itk(name)
    refusals = 0
    for place in range(at, at + len(field) + 1):
        for bit in range(8):
            data = bytearray(whole)
            data[place] ^= 1 << bit
            path.write_bytes(data)
            try:
                volume = read(path)
            except (FileError, GeometryError) as error:
                refusals += "\n" not in str(error)
            else:
                np.testing.assert_allclose(volume.grid.affine, sound.affine, atol=1e-9)
                assert np.array_equal(volume.array, sound.array)
    assert refusals > 3 * len(field)


def test_a_misspelt_field_is_named_with_the_nearest_known_one(itk):
    refused(
        itk("scan.nrrd", replace=[(b"space origin", b"space orifin")]), "'space orifin'", "'space origin'"
    )
    refused(itk("scan.nrrd", replace=[(b"space origin", b"spacing")]), "'spacing'", "'spacings'")
    refused(itk("scan.nrrd", replace=[(b"space origin:", b"space origin")]), "unknown header field")
    refused(itk("scan.mha", replace=[(b"\nOffset", b"\nOfset")]), "'Ofset'", "'Offset'")
    refused(itk("scan.mha", replace=[(b"\nOffset", b"\noffset")]), "'offset'", "'Offset'")
    refused(
        itk("scan.mha", replace=[(b"TransformMatrix", b"TransfromMatrix")]), "did you mean 'TransformMatrix'"
    )


def test_fields_of_anybodys_own_are_passed_over(itk, sound):
    own = itk(
        "scan.mha",
        replace=[(b"\nOffset", b"\nOffsets = 1\nITK_FileNotes = made here\n0008|0060 = CT\nOffset")],
    )
    pairs = itk("scan.nrrd", replace=[(b"endian", b"# a remark: of mine\nspace orifin:=(1,2,3)\nendian")])
    for path in (own, pairs):
        np.testing.assert_allclose(read(path).grid.affine, sound.affine, atol=1e-9)


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
