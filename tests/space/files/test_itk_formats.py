import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from sam_moe.errors import FileError, GeometryError
from sam_moe.space.files import read, read_header
from tests.space.files.conftest import refused

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
