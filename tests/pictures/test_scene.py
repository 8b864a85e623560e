"""What a picture shows: the patient's axes, the target's slices, a field around it, and grey values."""

from itertools import permutations, product

import numpy as np
import pytest
import torch

from sam_moe.errors import GeometryError
from sam_moe.pictures.scene import Scene, field_of, middle_of, turned, window_of
from sam_moe.prompts.prompt import Box, Point, Prompt
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume

SPACING = (1.0, 2.0, 3.0)
SHAPE = (60, 40, 30)
MASK = (slice(10, 20), slice(22, 30), slice(4, 9))


def scene_of(volume, mask, items=(), truth=None):
    return Scene(volume, {"answer": mask}, Prompt(tuple(items)), "title", truth)


@pytest.fixture
def volume(generator):
    grid = Grid.around((5, 6, 7), SHAPE, SPACING)
    return Volume(torch.rand(SHAPE, generator=generator), grid)


@pytest.fixture
def mask():
    mask = torch.zeros(SHAPE, dtype=torch.uint8)
    mask[MASK] = 1
    return mask


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("flips", list(product((0, 1), repeat=3)))
def test_however_it_is_stored_the_same_patient_is_shown(volume, mask, order, flips):
    straight = turned(scene_of(volume, mask, [Point((12, 23, 5)), Box((10, 22, 4), (20, 30, 9))]))
    axes = [axis for axis in range(3) if flips[axis]]
    stored = volume.array.permute(order).flip(axes)
    affine = volume.grid.affine[:, [*order, 3]].copy()
    for axis in axes:
        affine[:3, 3] += affine[:3, axis] * (stored.shape[axis] - 1)
        affine[:3, axis] *= -1
    grid = Grid(affine, tuple(stored.shape))
    prompt = Prompt((Point((12, 23, 5)), Box((10, 22, 4), (20, 30, 9)))).map(volume.grid.to(grid))
    other = turned(scene_of(Volume(stored, grid), mask.permute(order).flip(axes), prompt))
    assert np.array_equal(other.image, straight.image)
    assert np.array_equal(other.masks["answer"], straight.masks["answer"])
    assert other.spacing_mm == pytest.approx(SPACING)
    assert np.allclose(other.prompt.points[0].at, (12, 23, 5))
    assert np.allclose(other.prompt.boxes[0].start, (10, 22, 4))
    assert np.allclose(other.prompt.boxes[0].stop, (20, 30, 9))
    # The slice is named by the index that one types
    letter, index = other.stored_index(0, 12).split(" = ")
    axis = "ijk".index(letter)
    assert order[axis] == 0
    assert int(index) == (59 - 12 if flips[axis] else 12)


def test_the_slices_go_through_where_the_target_is_largest(volume, mask):
    mask[30:50, 25, 7] = 1  # a thin tail: most voxels of one slice along j and along k
    assert middle_of(turned(scene_of(volume, mask))) == (
        15,
        25,
        7,
    )  # the middle one of the ten equal slices along i


def test_where_the_truth_is_known_it_decides_the_slices(volume, mask):
    truth = torch.zeros(SHAPE, dtype=torch.uint8)
    truth[40, 5, 20] = 1
    assert middle_of(turned(scene_of(volume, mask, truth=truth))) == (40, 5, 20)


def test_a_click_on_the_truth_decides_the_slices_and_one_beside_it_does_not(volume, mask):
    clicks = [Point((50, 35, 25)), Point((11, 23, 5), positive=False), Point((18, 28, 6))]
    assert middle_of(turned(scene_of(volume, mask, clicks, truth=mask))) == (18, 28, 6)
    assert middle_of(turned(scene_of(volume, mask, clicks[:2], truth=mask))) == (15, 26, 6)


def test_of_a_probability_the_mask_is_where_it_exceeds_one_half(volume, mask):
    shown = turned(scene_of(volume, 0.4 + 0.2 * mask))
    assert np.array_equal(shown.masks["answer"], mask.numpy() > 0)
    assert shown.answers["answer"].min() == np.float32(0.4)


def test_of_an_empty_answer_the_slices_go_through_the_prompts(volume, mask):
    empty = torch.zeros_like(mask)
    assert middle_of(turned(scene_of(volume, empty, [Point((12, 23, 5))]))) == (12, 23, 5)


def test_a_small_target_is_shown_in_a_field_of_twelve_centimetres_that_stays_in_the_scan():
    grid = Grid.around((0, 0, 0), (300, 300, 300), (1, 1, 1))
    volume = Volume(torch.zeros((300, 300, 300)), grid)
    mask = torch.zeros((300, 300, 300), dtype=torch.uint8)
    mask[150:161, 150:161, 0:11] = 1
    shown = turned(scene_of(volume, mask))
    low, high = field_of(shown, middle_of(shown))
    assert np.allclose(high - low, 120)
    assert np.allclose((low + high)[:2] / 2, 155)
    assert low[2] == pytest.approx(-0.5)  # the edge of the scan, not 55 mm beyond it


def test_beside_a_target_under_the_skin_the_body_is_shown_and_not_the_air():
    grid = Grid.around((0, 0, 0), (300, 300, 300), (1, 1, 1))
    array = torch.full((300, 300, 300), -1024.0)
    array[60:240, 90:210] = 40.0
    mask = torch.zeros((300, 300, 300), dtype=torch.uint8)
    mask[229:240, 145:156, 145:156] = 1
    shown = turned(scene_of(Volume(array, grid), mask))
    low, high = field_of(shown, middle_of(shown))
    assert np.allclose(high, [239.5, 209.5, 210])  # the skin across and in front, 60 mm above the middle
    assert np.allclose(high - low, 120)


def test_a_target_almost_as_large_as_the_scan_is_shown_in_the_whole_scan(volume, mask):
    shown = turned(scene_of(volume, mask))
    low, high = field_of(shown, middle_of(shown))
    assert np.allclose(high - low, 90)  # 30 slices of 3 mm are the longest side
    assert np.allclose((low + high) / 2, [29.5, 39, 43.5])


@pytest.mark.parametrize(
    ("target", "window"),
    [(-800.0, (-1350, 150)), (60.0, (-125, 225)), (180.0, (-160, 300)), (900.0, (-300, 1500))],
)
def test_ct_is_shown_in_the_window_of_its_target(mask, target, window):
    array = torch.full(SHAPE, -1024.0)
    array[5:55, 5:35, 2:28] = 40.0
    array[MASK] = target
    shown = turned(scene_of(Volume(array, Grid.around((0, 0, 0), SHAPE, SPACING)), mask))
    assert window_of(shown, middle_of(shown)) == window


def test_other_scans_are_shown_between_percentiles_that_one_bright_voxel_does_not_move(volume, mask):
    volume.array[15, 26, 6] = 1e6
    shown = turned(scene_of(volume, mask))
    low, high = window_of(shown, (0, 0, 0))
    assert 0 <= low < 0.1
    assert 0.9 < high < 1.1


def test_a_mask_of_another_shape_is_refused(volume):
    with pytest.raises(GeometryError, match="does not fit the scan"):
        turned(scene_of(volume, torch.zeros((3, 3, 3))))
