"""Scenes without end: promptable, in contrast, and spoilt without breaking."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sam_moe.training.scans.phantoms import draw_phantom, smooth_noise, spoil


def phantoms(size, count):
    drawn = (draw_phantom(size, torch.Generator().manual_seed(seed)) for seed in range(count))
    return [crop for crop in drawn if crop is not None]


@pytest.mark.parametrize("size", [16, 32])
def test_a_target_is_neither_nothing_nor_everything(size):
    found = phantoms(size, 40)
    assert len(found) >= 30
    for crop in found:
        assert crop.image.shape == (size, size, size) and crop.targets.shape == (1, size, size, size)
        assert 60 <= crop.targets.sum() <= 0.4 * size**3
        assert crop.image.min() == 0 and torch.isfinite(crop.image).all()


def test_targets_differ_from_what_is_around_them():
    distances = []
    for crop in phantoms(32, 40):
        near = torch.nn.functional.max_pool3d(crop.targets[None].float(), 5, 1, 2)[0] > 0
        inside, ring = crop.image[crop.targets[0]], crop.image[(near & ~crop.targets)[0]]
        distances.append(float(abs(inside.mean() - ring.mean()) / crop.image.std()))
    assert sorted(distances)[len(distances) // 2] > 0.5


def test_a_phantom_is_repeated_by_its_generator_alone():
    a, b = (draw_phantom(16, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(a.image, b.image) and torch.equal(a.targets, b.targets)


@pytest.mark.parametrize("seed", range(8))
def test_several_targets_are_the_bodies_that_fit_one_after_another_and_then_again(seed):
    alone, crop = (draw_phantom(24, torch.Generator().manual_seed(seed), count) for count in (1, 9))
    assert torch.equal(crop.image, alone.image) and torch.equal(crop.targets[0], alone.targets[0])
    bodies = next(n for n in range(1, 10) if torch.equal(crop.targets[n], crop.targets[0]))
    assert crop.targets[:bodies].sum(dim=0).max() == 1  # no voxel belongs to two of them
    for n, target in enumerate(crop.targets):
        assert torch.equal(target, crop.targets[n % bodies]) and target.sum() >= 60


def test_smooth_noise_goes_through_its_knots_and_between_them_nowhere_beyond():
    noise = smooth_noise(17, 5, torch.Generator().manual_seed(0), channels=2)
    knots = torch.randn(1, 2, 5, 5, 5, generator=torch.Generator().manual_seed(0))[0]
    torch.testing.assert_close(noise[:, ::4, ::4, ::4], knots)
    assert noise.max() <= knots.max() + 1e-5 and noise.min() >= knots.min() - 1e-5


@given(st.integers(0, 10_000), st.sampled_from([0.0, 1.0, 4095.0]))
def test_a_spoilt_region_keeps_its_shape_and_stays_finite(seed, top):
    rng = torch.Generator().manual_seed(seed)
    image = top * torch.rand(16, 16, 16, generator=rng)
    before = image.clone()
    spoilt = spoil(image, rng)
    assert spoilt.shape == image.shape and torch.isfinite(spoilt).all()
    assert torch.equal(image, before)


def test_most_regions_are_spoilt_and_some_are_not():
    image = torch.rand(16, 16, 16, generator=torch.Generator().manual_seed(0))
    same = [
        torch.equal(spoil(image, torch.Generator().manual_seed(seed)), image / image.max())
        for seed in range(200)
    ]
    # no change at all has chance 0.7 * 0.9 * 0.7 * 0.85 * 0.75 * 0.5 = 0.14
    assert 0.14 * 200 - 15 < sum(same) < 0.14 * 200 + 15
