"""The plain way: SimpleITK's images lie where ours do, and regions and masks are the same to a voxel."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch
import torchio

from benchmarks.speed.sections import public_script
from benchmarks.speed.sections.scans import public_model
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume, resample

GRID = Grid(np.array([[-1.5, 0, 0, 40], [0, 2, 0, -30], [0, 0, 3, -20], [0, 0, 0, 1.0]]), (20, 18, 12))


@pytest.mark.parametrize("index", [(0, 0, 0), (19, 17, 11), (3, 5, 7)])
def test_a_voxel_lies_at_the_same_place_in_simpleitk(index):
    image = public_script.as_sitk(np.zeros(GRID.shape, np.float32), GRID.affine)
    x, y, z = image.TransformIndexToPhysicalPoint(index)
    np.testing.assert_allclose((-x, -y, z), GRID.world_of([index])[0])


def test_numbers_keep_their_axes_in_simpleitk():
    array = np.arange(np.prod(GRID.shape), dtype=np.float32).reshape(GRID.shape)
    image = public_script.as_sitk(array, GRID.affine)
    assert image.GetPixel(3, 5, 7) == array[3, 5, 7] and image.GetSize() == GRID.shape


def test_without_numbers_it_is_a_grid():
    image = public_script.as_sitk(None, GRID.affine, GRID.shape)
    assert image.GetSize() == GRID.shape and not sitk.GetArrayFromImage(image).any()


def test_a_probability_restored_everywhere_is_ours_but_for_rounding():
    rng = torch.Generator().manual_seed(0)
    region = Grid.around((10, -10, 0), (16, 16, 16), (2, 2, 2))
    coarse = torch.rand(4, 4, 4, generator=rng)
    smooth = torch.nn.functional.interpolate(coarse[None, None], (16, 16, 16), mode="trilinear")[0, 0]
    theirs = public_script.restored_everywhere(smooth.numpy(), region.affine, GRID)
    ours = (resample(Volume(smooth, region), onto=GRID).array > 0.5).numpy()
    assert 0 < ours.sum() < ours.size
    # SimpleITK gives the outer half voxel the value of the edge; ours ends at the last centre.
    apart = np.argwhere(theirs != ours)
    index = region.index_of(GRID.world_of(apart)) if len(apart) else np.zeros((0, 3))
    assert all((place < 0.01).any() or (place > 14.99).any() for place in index)


@pytest.fixture(scope="module")
def script():
    return public_script.PublicScript(public_model().network.module)


@pytest.mark.slow
def test_the_region_is_cut_around_the_click_in_millimetres_of_one_and_a_half(script):
    image = torchio.ScalarImage(tensor=torch.rand(1, *GRID.shape) + 1, affine=GRID.affine)
    middle = tuple(map(float, GRID.world_of([(10, 9, 6)])[0]))
    region = script.prepare(image, middle)
    assert region.image.spatial_shape == (128, 128, 128)
    np.testing.assert_allclose(np.abs(np.diag(region.image.affine)[:3]), 1.5)
    at = np.linalg.inv(region.image.affine) @ [*middle, 1]
    assert np.abs(at[:3] - 63.5).max() <= 2  # a voxel of the scan is up to two of the region's


@pytest.mark.slow
def test_a_mask_comes_back_to_the_scans_grid_by_nearest_neighbour(script):
    scan = torchio.ScalarImage(tensor=torch.zeros(1, *GRID.shape), affine=GRID.affine)
    mask = np.zeros(GRID.shape, np.uint8)
    mask[4:9, 3:8, 2:6] = 1
    back = sitk.GetArrayFromImage(script.restore(mask, GRID.affine, scan)).transpose(2, 1, 0)
    assert np.array_equal(back, mask)
