"""A glance is a few of the slices that `prepare` gives, of their middle, and costs no more than they do."""

import numpy as np
import pytest
import torch

from sam_moe.slices.glance import glance, glance_at
from sam_moe.slices.stack import neighbours, prepare
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume
from tests.predict.automatic.bands import BLOCK, SHADE


def noise(generator, shape, spacing, degrees=0):
    angle = np.deg2rad(degrees)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine[:3, :3] *= spacing
    return Volume(100 * torch.rand(shape, generator=generator), Grid(affine, shape))


@pytest.mark.parametrize("data_set", [BLOCK, SHADE], ids=["window", "mean"])
@pytest.mark.parametrize("degrees", [0, 30])
def test_of_a_small_scan_it_is_all_slices_as_they_are_prepared(generator, data_set, degrees):
    scan = noise(generator, (20, 24, 8), (2, 2, 3), degrees)
    torch.testing.assert_close(glance(scan, data_set), neighbours(prepare(scan, data_set).array))


def test_of_a_large_scan_it_is_eight_slices_of_the_middle(generator):
    scan = noise(generator, (180, 150, 32), (2, 2, 3))
    found = glance(scan, BLOCK)
    assert found.shape == (8, 3, 64, 64)
    # 32 slices in 8 parts of four, the third of each
    whole = neighbours(prepare(scan, BLOCK).array, torch.arange(2, 32, 4))
    torch.testing.assert_close(found, whole[:, :, 58:122, 43:107])


@pytest.mark.parametrize("shape", [(180, 40, 33), (24, 20, 3)], ids=["large", "small"])
def test_a_prepared_stack_gives_the_same_slices(generator, shape):
    """Training looks at stacks, prediction at scans: references made of one must hold for the other."""
    scan = noise(generator, shape, (1.7, 2.1, 3.3), 20)
    for data_set in (BLOCK, SHADE):
        torch.testing.assert_close(glance_at(prepare(scan, data_set).array), glance(scan, data_set))


def test_a_single_slice_is_its_own_neighbour(generator):
    scan = noise(generator, (8, 8, 1), (2, 2, 3))
    found = glance(scan, BLOCK)
    assert found.shape == (1, 3, 8, 8)
    assert torch.equal(found[:, 0], found[:, 1]) and torch.equal(found[:, 2], found[:, 1])
