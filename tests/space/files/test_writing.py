import json

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sam_moe.errors import FileError, GeometryError
from sam_moe.space.files import read, same_grid, write_mask, write_volume
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume

NAMES = ["m.nii", "m.nii.gz", "m.nrrd", "m.mha"]
GRID = Grid(np.diag([-0.7, -0.8, 3, 1]), (4, 5, 6))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_is_written_is_read_again_at_its_place(tmp_path, grids, name, data):
    grid = data.draw(grids(fewest=2))
    kinds = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float32]
    kind = data.draw(st.sampled_from(kinds))
    array = torch.randint(0, 100, grid.shape, generator=torch.Generator().manual_seed(1)).to(kind)
    write_volume(tmp_path / name, Volume(array, grid))
    again = read(tmp_path / name)
    assert again.array.dtype == kind
    assert torch.equal(again.array, array)
    np.testing.assert_allclose(
        again.grid.world_of(grid._corners(0)), grid.world_of(grid._corners(0)), atol=1e-4
    )
    same_grid(grid, again.grid)


@pytest.mark.parametrize("name", NAMES)
def test_others_see_a_mask_where_we_do(tmp_path, name):
    mask = torch.zeros(GRID.shape, dtype=torch.bool)
    mask[1, 2, 3] = True
    write_mask(tmp_path / name, mask, GRID)
    image = sitk.ReadImage(str(tmp_path / name))
    assert image.GetPixelIDTypeAsString() == "8-bit unsigned integer"
    assert image[1, 2, 3] == 1
    assert sitk.GetArrayFromImage(image).sum() == 1
    x, y, z = image.TransformIndexToPhysicalPoint((1, 2, 3))
    np.testing.assert_allclose((-x, -y, z), GRID.world_of((1, 2, 3)), atol=1e-5)


def test_nifti_holds_its_place_twice_and_in_millimetres(tmp_path):
    write_mask(tmp_path / "m.nii.gz", torch.zeros(GRID.shape, dtype=torch.uint8), GRID)
    header = nibabel.load(tmp_path / "m.nii.gz").header
    assert (header["sform_code"], header["qform_code"]) == (2, 2)
    np.testing.assert_allclose(header.get_qform(), header.get_sform(), atol=1e-5)
    assert header.get_xyzt_units()[0] == "mm"


@pytest.mark.parametrize(("most", "kind"), [(255, np.uint8), (256, np.uint16), (65535, np.uint16)])
def test_many_labels_take_two_bytes(tmp_path, most, kind):
    labels = torch.zeros(GRID.shape, dtype=torch.int32)
    labels[0, 0, 0] = most
    write_mask(tmp_path / "m.nii", labels, GRID)
    assert nibabel.load(tmp_path / "m.nii").get_data_dtype() == kind
    assert read(tmp_path / "m.nii").array.max() == most


def test_names_of_labels_lie_beside_the_mask(tmp_path):
    write_mask(tmp_path / "m.nii.gz", torch.ones(GRID.shape, dtype=torch.uint8), GRID, {2: "Öhr", 1: "liver"})
    assert json.loads((tmp_path / "m.labels.json").read_text(encoding="utf-8")) == {"1": "liver", "2": "Öhr"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.labels.json", "m.nii.gz"]


@pytest.mark.parametrize("name", NAMES)
def test_a_full_disk_leaves_what_was_there_and_nothing_else(small_disk, name):
    path = small_disk / name
    write_mask(path, torch.ones(GRID.shape, dtype=torch.uint8), GRID)
    before = path.read_bytes()
    grid = Grid(np.eye(4), (64, 64, 64))
    noise = torch.randint(0, 255, grid.shape, generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    with pytest.raises(FileError, match=f"{name}: cannot be written"):
        write_mask(path, noise, grid)
    assert path.read_bytes() == before
    assert [p.name for p in small_disk.iterdir()] == [name]


@pytest.mark.parametrize(
    ("name", "mask", "labels", "says", "kind"),
    [
        ("m.png", torch.zeros(GRID.shape, dtype=torch.uint8), None, "unknown kind", FileError),
        ("none/m.nii", torch.zeros(GRID.shape, dtype=torch.uint8), None, "no such folder", FileError),
        ("m.nii", torch.zeros(GRID.shape), None, "threshold", FileError),
        ("m.nii", -torch.ones(GRID.shape, dtype=torch.int8), None, "labels from -1", FileError),
        ("m.nii", torch.zeros(GRID.shape, dtype=torch.uint8), {0: "air"}, "background", FileError),
        ("m.nii", torch.zeros((1, 2, 3), dtype=torch.uint8), None, "does not fit", GeometryError),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, name, mask, labels, says, kind):
    with pytest.raises(kind, match=says) as error:
        write_mask(tmp_path / name, mask, GRID, labels)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_complex_volumes_have_no_format(tmp_path):
    with pytest.raises(FileError, match="no format for"):
        write_volume(tmp_path / "v.nii", Volume(torch.zeros(GRID.shape, dtype=torch.complex64), GRID))


def test_half_precision_is_widened(tmp_path):
    write_volume(tmp_path / "v.mha", Volume(torch.full(GRID.shape, 0.5, dtype=torch.bfloat16), GRID))
    assert (read(tmp_path / "v.mha").array == 0.5).all()


def test_a_sheared_grid_goes_into_no_itk_format(tmp_path):
    affine = np.eye(4)
    affine[0, 1] = 0.2
    volume = Volume(torch.zeros(2, 2, 2), Grid(affine, (2, 2, 2)))
    with pytest.raises(GeometryError, match="sheared"):
        write_volume(tmp_path / "v.nrrd", volume)
    assert list(tmp_path.iterdir()) == []


def test_a_numpy_mask_and_a_volume_are_written_as_a_tensor_is(tmp_path):
    mask = torch.zeros(GRID.shape, dtype=torch.uint8)
    mask[1, 0, 1] = 3
    write_mask(tmp_path / "tensor.nii", mask, GRID)
    write_mask(tmp_path / "array.nii", mask.numpy().astype(np.int64), GRID)
    write_mask(tmp_path / "volume.nii", Volume(mask, GRID), labels={3: "liver"})
    assert len({(tmp_path / f"{name}.nii").read_bytes() for name in ("tensor", "array", "volume")}) == 1
    assert (tmp_path / "volume.labels.json").is_file()
    with pytest.raises(
        GeometryError, match=r"a mask without a grid\. Expected write_mask\(path, mask, grid\)"
    ):
        write_mask(tmp_path / "none.nii", mask)
    with pytest.raises(FileError, match=r"a mask of type torch\.float64"):
        write_mask(tmp_path / "float.nii", np.zeros(GRID.shape), GRID)
