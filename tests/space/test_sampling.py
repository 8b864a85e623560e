"""What is sampled where: no bit depends on which part is computed, or in which pieces."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from sam_moe.space import sampling
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume, resample


def noise(grid, seed=0):
    return Volume(torch.randn(grid.shape, generator=torch.Generator().manual_seed(seed)), grid)


REGION = Grid.around((3, 4, 5), (24, 20, 16), (1.5, 1.5, 1.5))


def a_scan(tilt):
    affine = np.diag([-0.8, 0.9, 2.0, 1])
    affine[:3, :3] = Rotation.from_euler("xyz", (tilt, 0, tilt), degrees=True).as_matrix() @ affine[:3, :3]
    affine[:3, 3] = (38, -40, -35)
    return Grid(affine, (90, 96, 40))


def test_a_box_without_extent_along_an_axis_is_empty_and_slices_nothing():
    box = sampling.IndexBox((2, 3, 4), (5, 3, 9))
    assert box.empty and torch.zeros(10, 10, 10)[box.slices].numel() == 0
    assert not sampling.IndexBox((2, 3, 4), (5, 4, 9)).empty


def test_a_source_reaches_half_a_voxel_beyond_its_outer_centres():
    source = Grid(np.diag([2.0, 2, 2, 1]), (4, 4, 4))  # centres at 0 to 6 mm, edges at -1 and 7
    onto = Grid(np.diag([1.0, 1, 1, 1]), (20, 20, 20))
    found = sampling.reach(source, onto, [])
    assert (found.start, found.stop) == ((0, 0, 0), (8, 8, 8))
    corner = Grid(np.array([[1.0, 0, 0, 6], [0, 1, 0, 6], [0, 0, 1, 6], [0, 0, 0, 1]]), (9, 9, 9))
    assert sampling.reach(source, onto, [corner]).slices == (slice(6, 8),) * 3
    far = Grid.around((900, 0, 0), (4, 4, 4), (1, 1, 1))
    assert sampling.reach(source, far, []).empty


@pytest.mark.parametrize("tilt", [0, 8], ids=["parallel", "oblique"])
@pytest.mark.parametrize("fill", [0.0, 1.0, -2.5])
def test_computing_only_in_the_box_is_bit_equal_to_computing_everywhere(tilt, fill):
    region, scan = noise(REGION), a_scan(tilt)
    everywhere = sampling.sample(
        region.array, region.grid, scan, sampling.IndexBox((0, 0, 0), scan.shape), fill, torch.float32
    )
    assert torch.equal(resample(region, scan, fill).array, everywhere)
    assert 0 < (everywhere == fill).float().mean() < 1


@pytest.mark.parametrize("tilt", [0, 8], ids=["parallel", "oblique"])
def test_within_changes_no_bit_inside_and_fills_outside(tilt):
    scan = noise(a_scan(tilt))
    onto = a_scan(-tilt)
    part = Grid.around((0, 0, 0), (20, 20, 20), (1, 1, 1))
    everywhere = resample(scan, onto, fill=9).array
    inside = resample(scan, onto, fill=9, within=[part]).array
    box = sampling.reach(scan.grid, onto, [part])
    assert torch.equal(inside[box.slices], everywhere[box.slices])
    rest = torch.ones(onto.shape, dtype=torch.bool)
    rest[box.slices] = False
    assert (inside[rest] == 9).all()
    centres = onto.index_of(part.world_of(np.indices(part.shape).reshape(3, -1).T))
    assert (centres >= np.array(box.start) - 0.5).all()
    assert (centres <= np.array(box.stop) - 0.5).all()


@pytest.mark.parametrize("tilt", [0, 8], ids=["parallel", "oblique"])
def test_memory_comes_in_chunks_that_change_no_bit(tilt, monkeypatch):
    region, scan = noise(REGION), noise(a_scan(tilt))
    whole = resample(region, scan.grid).array, resample(scan, REGION).array
    monkeypatch.setattr(sampling, "_SEPARABLE_CHUNK", 5_000)
    monkeypatch.setattr(sampling, "_GENERAL_CHUNK", 5_000)
    assert torch.equal(resample(region, scan.grid).array, whole[0])
    assert torch.equal(resample(scan, REGION).array, whole[1])
