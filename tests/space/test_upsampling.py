"""Logits brought up to the voxels of a region."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from sam_moe.space.upsampling import upsample


def noise(*shape: int) -> torch.Tensor:
    return 5 * torch.randn(shape, generator=torch.Generator().manual_seed(0))


def interpolated(logits: torch.Tensor, size: int) -> torch.Tensor:
    return F.interpolate(logits, size=(size, size, size), mode="trilinear", align_corners=False)


@pytest.mark.parametrize(("length", "size"), [(32, 128), (16, 64), (16, 32)])
def test_upsampling_is_torchs_trilinear_interpolation_and_its_mask_is_identical(length, size):
    logits = noise(2, 1, length, length, length)
    got, expected = upsample(logits, size), interpolated(logits, size)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)
    assert torch.equal(got > 0, expected > 0)


@pytest.mark.parametrize(("length", "size"), [(8, 8), (7, 19), (12, 5), (2, 9), (1, 4)])
def test_upsampling_to_any_size_is_torchs_in_float64(length, size):
    """torch's own float32 coordinates are off by 1e-5 where the ratio is no power of two."""
    logits = noise(2, 1, length, length, length).double()
    torch.testing.assert_close(upsample(logits, size), interpolated(logits, size), rtol=0, atol=1e-12)


@given(value=st.floats(-100, 100, width=32), length=st.integers(1, 9), size=st.integers(1, 20))
def test_a_constant_stays_constant(value, length, size):
    torch.testing.assert_close(
        upsample(torch.full((length,) * 3, value), size), torch.full((size,) * 3, value), rtol=1e-5, atol=1e-5
    )


sizes = st.tuples(*[st.integers(1, 9)] * 3)


@given(low=sizes, high=sizes)
def test_each_axis_has_a_size_of_its_own(low, high):
    logits = noise(1, 1, *low).double()
    expected = F.interpolate(logits, size=high, mode="trilinear", align_corners=False)
    torch.testing.assert_close(upsample(logits, high), expected, rtol=0, atol=1e-12)


def test_a_plane_is_brought_up_within_itself():
    plane = torch.tensor([[0.0, 4.0], [8.0, 12.0]])[..., None]
    expected = torch.tensor([0.0, 1, 3, 4]) + torch.tensor([0.0, 2, 6, 8])[:, None]
    assert torch.equal(upsample(plane, (4, 4, 1))[..., 0], expected)
