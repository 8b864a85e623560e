"""Scans as axial slices: on the world's axes, at a data set's spacing and intensities."""

import numpy as np
import pytest
import torch

from sam_moe.registry.automatic import AboveMean, DataSet, Label, Window
from sam_moe.slices.stack import axial_grid, comparable, neighbours, prepare
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume

WINDOW = Window(low=-100, high=300)


def data_set(spacing_mm=(2.0, 2.0, 3.0), intensity=WINDOW):
    return DataSet(
        id="some-ct",
        title="CT",
        modality="CT",
        expert="some",
        spacing_mm=spacing_mm,
        intensity=intensity,
        labels=(Label(name="ball"),),
    )


def ramp(grid, direction):
    """A scan whose numbers are millimetres along a direction of the world."""
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    return Volume(grid.world_of(index) @ np.array(direction, dtype=float), grid)


def turned(degrees, shape=(12, 10, 8), spacing=(2.0, 2.0, 3.0)):
    """A grid turned around the z axis."""
    angle = np.deg2rad(degrees)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine[:3, :3] *= spacing
    affine[:3, 3] = (5, -7, 30)
    return Grid(affine, shape)


def test_a_grid_along_the_axes_with_the_wanted_voxels_is_kept():
    grid = Grid.around((3, -4, 50), (12, 11, 7), (2.0, 2.0, 3.0))
    assert axial_grid(grid, (2.0, 2.0, 3.0)).same_as(grid, tolerance_voxels=1e-9)


@pytest.mark.parametrize("degrees", [0, 30, 90, 180, 200])
@pytest.mark.parametrize("spacing_mm", [(2.0, 2.0, 3.0), (0.7, 1.1, 5.0), (40.0, 40.0, 40.0)])
def test_slices_cover_the_scan_around_its_middle_and_no_more_than_needed(degrees, spacing_mm):
    scan = turned(degrees)
    grid = axial_grid(scan, spacing_mm)
    assert grid.axcodes == "RAS" and grid.spacing_mm == pytest.approx(spacing_mm)
    low, high = (getattr(grid.corners_mm, end)(axis=0) for end in ("min", "max"))
    corners = scan.corners_mm
    assert (low <= corners.min(axis=0) + 2e-3 * np.array(spacing_mm)).all()
    assert (high >= corners.max(axis=0) - 2e-3 * np.array(spacing_mm)).all()
    np.testing.assert_allclose((low + high) / 2, (corners.min(axis=0) + corners.max(axis=0)) / 2, atol=1e-6)
    assert (high - low < corners.max(axis=0) - corners.min(axis=0) + spacing_mm).all()


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, -1, 1), (-1, 1, -1)])
def test_axes_of_a_stack_run_right_front_and_up_however_the_file_stores_them(axis, flips):
    affine = np.eye(4)[[2, 0, 1, 3]] @ np.diag([*flips, 1.0]) * [2.0, 2.0, 2.0, 1.0]  # axes permuted too
    scan = ramp(Grid(affine, (9, 8, 7)), np.eye(3)[axis])
    wide = data_set((2.0, 2.0, 2.0), Window(low=-50, high=50))
    stack = prepare(scan, wide)
    steps = stack.array.diff(dim=axis)
    torch.testing.assert_close(steps, torch.full_like(steps, 0.02))
    for other in {0, 1, 2} - {axis}:
        assert stack.array.diff(dim=other).abs().max() < 1e-6


def test_a_scan_on_its_own_grid_is_prepared_to_the_bit():
    grid = Grid.around((0, 0, 0), (6, 5, 4), (2.0, 2.0, 3.0))
    values = torch.randn(6, 5, 4, generator=torch.Generator().manual_seed(0)) * 200
    stack = prepare(Volume(values, grid), data_set())
    assert torch.equal(stack.array, ((values + 100) / 400).clamp(0, 1))
    assert stack.grid.same_as(grid)


def test_outside_a_turned_scan_stands_its_least_number():
    grid = turned(45)
    scan = Volume(torch.full(grid.shape, 200.0), grid)
    scan.array[0, 0, 0] = 100.0  # the least is 0.5 after the window
    stack = prepare(scan, data_set())
    assert float(stack.array.min()) == 0.5
    assert stack.array[0, 0].unique().tolist() == [0.5]
    x, y, z = stack.array.shape
    assert float(stack.array[x // 2, y // 2, z // 2]) == pytest.approx(0.75)


def test_a_window_cuts_at_both_ends():
    values = torch.tensor([-500.0, -100.0, 100.0, 300.0, 3000.0]).reshape(5, 1, 1)
    assert comparable(values, WINDOW).flatten().tolist() == [0, 0, 0.5, 1, 1]


def test_above_the_mean_the_numbers_have_no_mean_and_unit_deviation():
    values = torch.rand(7, 6, 5, generator=torch.Generator().manual_seed(1)) * 30 + 4
    found = comparable(values, AboveMean())
    bright = found[values > values.mean()]
    assert float(bright.mean()) == pytest.approx(0, abs=1e-5)
    assert float(bright.std(correction=0)) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("scale", "offset"), [(3.0, 0.0), (0.01, -500.0)])
def test_a_scanner_s_scale_and_offset_do_not_change_what_is_above_the_mean(scale, offset):
    values = torch.rand(7, 6, 5, generator=torch.Generator().manual_seed(2)).double()
    found = comparable(values * scale + offset, AboveMean())
    torch.testing.assert_close(found, comparable(values, AboveMean()))


@pytest.mark.parametrize("values", [torch.zeros(3, 3, 3), torch.full((3, 3, 3), 0.1)])
def test_a_scan_without_contrast_becomes_zeros(values):
    assert comparable(values, AboveMean()).unique().tolist() == [0]


@pytest.mark.parametrize("bright", [8.0, 0.1, 1e-3, 1e6])
def test_two_numbers_have_no_deviation_but_a_span(bright):
    values = torch.zeros(9, 9, 9)
    values[2:7, 2:7, 2:7] = bright
    found = comparable(values, AboveMean())
    torch.testing.assert_close(found.unique(), torch.tensor([-1.0, 0.0]), atol=1e-5, rtol=0)


def test_channels_are_the_slice_below_the_slice_and_the_one_above():
    stack = torch.arange(4.0).expand(2, 3, 4)
    found = neighbours(stack)
    assert found.shape == (4, 3, 2, 3)
    assert found[:, :, 0, 0].tolist() == [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 3]]


def test_chosen_slices_are_those_of_all_in_any_order():
    stack = torch.randn(2, 3, 5)
    assert torch.equal(neighbours(stack, torch.tensor([4, 0, 2])), neighbours(stack)[[4, 0, 2]])


def test_a_single_slice_is_its_own_neighbours():
    stack = torch.randn(2, 3, 1)
    assert torch.equal(neighbours(stack), stack.permute(2, 0, 1).expand(1, 3, 2, 3))


def test_no_slices_give_none():
    assert neighbours(torch.randn(2, 3, 5), torch.zeros(0, dtype=torch.long)).shape == (0, 3, 2, 3)
