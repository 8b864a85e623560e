"""What is cut from a scan where a region lies."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from torch.nn import functional as F

from sam_moe.predict.regions.cut import block_mean, cut
from sam_moe.predict.regions.where import region_at
from sam_moe.registry import Preprocessing
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume, resample


def test_at_the_models_own_spacing_a_region_is_plain_interpolation(generator):
    scan = Volume(
        torch.rand(40, 30, 20, generator=generator), Grid.around((0, 0, 0), (40, 30, 20), (0.7, 0.7, 2))
    )
    region = region_at(np.zeros(3), Preprocessing(region_voxels=16, spacing_mm=1.5, normalisation="mean"), 1)
    assert torch.equal(cut(scan, region, 1.5, 0.0), resample(scan, onto=region).array)


def test_a_coarse_region_averages_what_it_would_step_over(generator):
    noise = torch.randn(64, 64, 64, generator=generator)
    scan = Volume(noise, Grid.around((0, 0, 0), (64, 64, 64), (1.5, 1.5, 1.5)))
    region = Grid.around((0, 0, 0), (12, 12, 12), (6, 6, 6))
    # 4x4x4 voxels averaged, then interpolated: far quieter than one voxel's noise
    assert cut(scan, region, 1.5, 0.0).std() < 0.2 < resample(scan, onto=region).array.std()


@given(st.integers(0, 2**32 - 1), st.tuples(*[st.integers(1, 4)] * 3))
def test_block_means_of_a_ramp_lie_on_the_ramp(seed, blocks):
    rng = np.random.default_rng(seed)
    affine = np.eye(4)
    affine[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.uniform(0.5, 3, size=3)
    affine[:3, 3] = rng.uniform(-50, 50, size=3)
    grid = Grid(affine, tuple(int(n) for n in rng.integers(5, 14, size=3)))
    slope = rng.normal(size=3)

    def ramp(g):
        index = np.stack(np.meshgrid(*map(np.arange, g.shape), indexing="ij"), axis=-1)
        return torch.from_numpy(g.world_of(index) @ slope).float()

    region = Grid.around(grid.world_of(np.array(grid.shape) / 2), (6, 6, 6), (4, 4, 4))
    means = block_mean(Volume(ramp(grid), grid), region, np.array(blocks))
    lows = grid.index_of(
        means.grid.world_of(np.stack(np.meshgrid(*map(np.arange, means.grid.shape), indexing="ij"), -1))
    )
    half = (np.minimum(blocks, grid.shape) - 1) / 2
    whole = ((lows - half > -1e-6) & (lows + half < np.array(grid.shape) - 1 + 1e-6)).all(axis=-1)
    assert_allclose(means.array[whole], ramp(means.grid)[whole], atol=1e-3)


@pytest.mark.parametrize("layout", [(0, 1, 2), (2, 1, 0), (1, 2, 0)], ids=["C", "F", "neither"])
@pytest.mark.parametrize("dtype", [torch.int16, torch.float32])
@pytest.mark.parametrize("blocks", [(2, 2, 2), (3, 1, 5)])
def test_block_means_are_those_of_pooling_the_scan_with_its_border_repeated(layout, dtype, blocks, generator):
    array = (1000 * torch.randn(23, 18, 31, generator=generator)).to(dtype)
    back = [layout.index(axis) for axis in range(3)]
    array = array.permute(layout).contiguous().permute(back)
    grid = Grid.around((0, 0, 0), tuple(array.shape), (1, 1, 1))
    means = block_mean(Volume(array, grid), Grid.around((2, -1, 3), (9, 9, 9), (4, 4, 4)), np.array(blocks))
    # The plain way: repeat the border far out, and pool from the voxel where the first block begins.
    start = grid.index_of(means.grid.world_of((0, 0, 0))) - (np.array(blocks) - 1) / 2
    first = np.rint(start).astype(int) + 12
    wide = F.pad(array.float()[None, None], [12] * 6, mode="replicate")[0]
    i, j, k = (slice(a, a + b * n) for a, b, n in zip(first, blocks, means.grid.shape, strict=True))
    plain = F.avg_pool3d(wide[:, i, j, k], blocks)[0]
    torch.testing.assert_close(means.array, plain, rtol=1e-6, atol=1e-3)  # of values around 1000: float32


@pytest.mark.parametrize("blocks", [(2, 2, 2), (3, 2, 5), (4, 3, 1)])
def test_a_flipped_scan_has_the_same_blocks_whatever_its_size(blocks, generator):
    """The region's centre lies on a voxel's centre, between blocks of even size: the hardest case."""
    grid = Grid(np.diag([1.0, 1.0, 1.0, 1.0]), (17, 18, 23))
    scan = Volume(torch.randint(0, 100, grid.shape, generator=generator), grid)
    region = Grid.around(grid.world_of((9, 7, 11)), (8, 8, 8), (5, 5, 5))
    plain = resample(block_mean(scan, region, np.array(blocks)), onto=region, fill=-1.0)
    for axes in ((0,), (1,), (2,), (0, 1, 2)):
        affine = np.eye(4)
        for axis in axes:
            affine[axis, axis], affine[axis, 3] = -1, grid.shape[axis] - 1
        flipped = Volume(scan.array.flip(axes), Grid(affine, grid.shape))
        again = resample(block_mean(flipped, region, np.array(blocks)), onto=region, fill=-1.0)
        assert torch.equal(again.array, plain.array)


def test_blocks_reach_to_the_end_of_the_scan():
    """79 voxels are no multiple of 5; their last ones were once left out, filled as if beyond the scan."""
    grid = Grid(np.eye(4), (79, 79, 79))
    region = Grid.around((39, 39, 39), (16, 16, 16), (5, 5, 5))
    means = block_mean(Volume(torch.ones(grid.shape), grid), region, np.array([5, 5, 5]))
    assert torch.equal(resample(means, onto=grid, fill=-1.0).array, torch.ones(grid.shape))
