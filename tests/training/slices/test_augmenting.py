"""Tiles turned, zoomed and disturbed: repeatable, within the settings, and never mirrored."""

import numpy as np
import pytest
import torch

from sam_moe.training.slices.augmenting import Augmenter, Range
from sam_moe.training.slices.settings import Augmentation

VALUES = Range(least=-2.0, most=4.0, spread=1.5)
STILL = {"contrast": 0, "brightness": 0, "noise": 0}


def state(number=0):
    return np.random.RandomState(number)


def matrices(count=200, spacing_mm=(2.0, 2.0), **how):
    augmenter = Augmenter(Augmentation(**{"moved": 1, **how}))
    rng = state()
    return torch.stack([augmenter.place(rng, spacing_mm) for _ in range(count)])


@pytest.fixture
def image():
    return torch.rand(3, 24, 24, generator=torch.Generator().manual_seed(0)) * 6 - 2


def test_a_state_draws_the_same_whatever_was_drawn_before(image):
    first, second = Augmenter(Augmentation()), Augmenter(Augmentation())
    for number in range(5):  # the second has drawn less
        first.place(state(number), (1.0, 1.0))
        first.disturb(image, VALUES, state(number))
    for number in range(20):
        one, two = state(number), state(number)
        a, b = first.place(one, (1.0, 1.0)), second.place(two, (1.0, 1.0))
        assert (a is None and b is None) or torch.equal(a, b)
        assert torch.equal(first.disturb(image, VALUES, one), second.disturb(image, VALUES, two))


def test_the_share_of_moved_tiles_is_that_of_the_settings():
    augmenter, rng = Augmenter(Augmentation(moved=0.25)), state()
    moved = sum(augmenter.place(rng, (1.0, 1.0)) is not None for _ in range(2000))
    assert 440 < moved < 560  # 500 +- 3 deviations of 20
    assert all(Augmenter(Augmentation(moved=0)).place(rng, (1.0, 1.0)) is None for _ in range(50))


def test_turns_and_zooms_fill_their_ranges_and_do_not_leave_them():
    found = matrices(1000, rotation_deg=20, zoom=(0.8, 1.25))
    turn = torch.rad2deg(torch.atan2(found[:, 1, 0], found[:, 0, 0]))
    assert -20.001 < turn.min() < -19 and 19 < turn.max() < 20.001
    zoom = 1 / torch.linalg.det(found).sqrt()
    assert 0.799 < zoom.min() < 0.81 and 1.23 < zoom.max() < 1.2501


def test_left_and_right_are_never_swapped():
    found = matrices(1000, rotation_deg=45, zoom=(0.5, 2.0))
    assert (torch.linalg.det(found) > 0).all()
    assert (found[:, 0, 0] > 0).all()  # what lies to the right stays to the right


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0), (0.5, 2.0)])
def test_shapes_are_kept_in_millimetres_whatever_a_pixel_s_sides(spacing_mm):
    spacing = torch.tensor(spacing_mm)
    found = matrices(50, spacing_mm) * spacing[:, None] / spacing
    gram = found.mT @ found
    torch.testing.assert_close(gram, gram[:, :1, :1] * torch.eye(2), atol=1e-5, rtol=0)


def test_without_turn_and_zoom_a_moved_tile_stays():
    assert torch.equal(matrices(3, rotation_deg=0, zoom=(1.0, 1.0)), torch.eye(2).expand(3, 2, 2))


def test_without_disturbances_the_numbers_stay(image):
    found = Augmenter(Augmentation(**STILL)).disturb(image, VALUES, state())
    torch.testing.assert_close(found, image, atol=1e-6, rtol=0)
    assert type(found) is torch.Tensor and found.dtype == torch.float32


@pytest.mark.parametrize("kind", ["contrast", "brightness", "noise"])
def test_each_disturbance_changes_numbers_within_the_scan_s_range(image, kind):
    augmenter = Augmenter(Augmentation(**{**STILL, kind: 1}))
    for number in range(20):
        found = augmenter.disturb(image, VALUES, state(number))
        assert not torch.allclose(found, image, atol=1e-4)
        assert found.min() >= VALUES.least and found.max() <= VALUES.most


@pytest.mark.parametrize(("kind", "alike"), [("contrast", True), ("brightness", True), ("noise", False)])
def test_channels_are_disturbed_alike_but_for_the_noise(image, kind, alike):
    same = image[:1].expand(3, -1, -1)
    found = Augmenter(Augmentation(**{**STILL, kind: 1})).disturb(same, VALUES, state())
    assert torch.equal(found[0], found[2]) is alike


@pytest.mark.parametrize("kind", ["contrast", "brightness"])
def test_darker_stays_darker(image, kind):
    augmenter = Augmenter(Augmentation(**{**STILL, kind: 1}))
    order = image.flatten().argsort()
    for number in range(20):
        found = augmenter.disturb(image, VALUES, state(number)).flatten()[order]
        assert (found.diff() >= -1e-6).all()


def test_noise_is_as_strong_as_the_settings_and_the_scan_s_spread():
    wide = Range(least=-100.0, most=100.0, spread=10.0)
    augmenter = Augmenter(Augmentation(**{**STILL, "noise": 1}, noise_deviation=0.2))
    found = [
        float(augmenter.disturb(torch.zeros(3, 24, 24), wide, state(number)).std()) for number in range(100)
    ]
    assert 1.8 < max(found) < 2.1 and min(found) < 0.2


def test_a_tile_of_one_number_can_be_disturbed():
    augmenter = Augmenter(Augmentation(contrast=1, brightness=1, noise=1))
    found = augmenter.disturb(torch.full((3, 8, 8), -2.0), VALUES, state())
    assert found.isfinite().all() and found.min() >= -2
