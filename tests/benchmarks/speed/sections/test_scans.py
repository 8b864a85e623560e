"""Synthetic scans of the speed table: organs lie where clicks go, the same for the same seed."""

import numpy as np
import pytest
import torch

from benchmarks.speed.sections import scans

SHAPE, SPACING = (64, 64, 32), (6.0, 6.0, 10.0)


@pytest.fixture(scope="module")
def volume():
    return scans.scan_of(SHAPE, SPACING)


@pytest.mark.parametrize("organ", scans.ORGANS)
def test_each_organ_is_brighter_than_the_body_where_its_clicks_go(volume, organ):
    i, j, k = (round(float(x)) for x in volume.grid.index_of(scans.ORGANS[organ]))
    assert 20 <= int(volume.array[i, j, k]) <= 40 + 10 * len(scans.ORGANS) + 20


def test_outside_the_body_is_air_and_inside_is_water(volume):
    assert int(volume.array[0, 0, 0]) < -900
    i, j, k = (round(float(x)) for x in volume.grid.index_of((0, 60, -100)))
    assert -20 <= int(volume.array[i, j, k]) <= 20


def test_a_scan_is_int16_and_its_noise_is_its_seeds(volume):
    assert volume.array.dtype == torch.int16
    assert torch.equal(volume.array, scans.scan_of(SHAPE, SPACING).array)
    assert not torch.equal(volume.array, scans.scan_of(SHAPE, SPACING, seed=1).array)


def test_a_scene_is_read_back_from_its_file(tmp_path):
    place = scans.scene(tmp_path, SHAPE, SPACING, "scan.nii.gz")
    assert place.path.is_file() and place.voxels == 64 * 64 * 32
    assert torch.equal(place.volume.array, scans.scan_of(SHAPE, SPACING).array)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_clicks_begin_in_the_middle_and_stay_within_eight_millimetres(count):
    clicks = scans.clicks(count)
    middle = np.array(scans.ORGANS["portal vein"])
    assert len(clicks) == count and clicks[0].at == tuple(middle)
    assert all(click.space == "mm" and click.positive for click in clicks)
    assert max(np.abs(np.array(click.at) - middle).max() for click in clicks) <= 8
    assert clicks == scans.clicks(count)
