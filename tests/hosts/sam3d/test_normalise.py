"""Intensities by hand, and against torchio."""

import pytest
import torch
import torchio as tio

from sam_moe.hosts.sam3d.normalise import normalise


def test_positive_uses_mean_and_deviation_of_the_voxels_above_zero():
    region = torch.tensor([-7.0, 0, 1, 3, 5, 0, 0, 7]).view(2, 2, 2)
    # above zero: 1 3 5 7, mean 4, unbiased deviation sqrt(20 / 3)
    assert torch.allclose(normalise(region, "positive"), (region - 4) / (20 / 3) ** 0.5)


def test_mean_is_torchios_masking_by_the_mean_where_nothing_is_cut(generator):
    region = torch.rand(1, 12, 12, 12, generator=generator) * 40 + 100
    theirs = tio.ZNormalization(masking_method=tio.ZNormalization.mean)(tio.ScalarImage(tensor=region)).data
    torch.testing.assert_close(normalise(region, "mean"), theirs.clamp(-4, 4), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 1024.0), (0.25, 0.0), (3.0, -50.0)])
def test_mean_does_not_depend_on_the_scanners_scale_and_offset(generator, scale, offset):
    region = torch.randn(8, 8, 8, generator=generator).exp()
    changed = normalise(region * scale + offset, "mean")
    torch.testing.assert_close(changed, normalise(region, "mean"), atol=1e-3, rtol=0)


def test_metal_takes_far_less_of_the_tissues_contrast_than_in_a_plain_score(generator):
    metal = torch.rand(16, 16, 16, generator=generator) * 100
    metal[0, 0, :4] = 3000
    bright = metal[metal > metal.mean()]
    plain = (metal - bright.mean()) / bright.std()
    found = normalise(metal, "mean")
    assert found[1:].std() > 3 * plain[1:].std()
    assert found.max() == 4


def test_every_region_of_a_batch_is_normalised_by_itself(generator):
    batch = torch.rand(3, 1, 6, 6, 6, generator=generator) * torch.tensor([1.0, 10, 100]).view(3, 1, 1, 1, 1)
    for how in ("positive", "mean"):
        for region, found in zip(batch, normalise(batch, how), strict=True):
            torch.testing.assert_close(found, normalise(region, how))


@pytest.mark.parametrize("how", ["positive", "mean"])
def test_a_flat_region_stays_finite(how):
    for value in (0.0, 5.0, -3.0):
        assert normalise(torch.full((4, 4, 4), value), how).isfinite().all()
