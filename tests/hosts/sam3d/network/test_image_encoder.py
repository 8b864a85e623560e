"""The encoder as a whole: plain and collapsed attention agree, and so do their gradients."""

import pytest
import torch
from torch import nn

from sam_moe.hosts.sam3d.network.image_encoder import ImageEncoder, PatchEmbed
from sam_moe.hosts.sam3d.sizes import Sizes


def encoder(window):
    made = ImageEncoder(Sizes(32, 8, 24, 3, 2, window, (1,), 48)).double()
    generator = torch.Generator().manual_seed(window)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    return made


@pytest.mark.parametrize("window", [2, 3, 4, 5, 14])
def test_with_padded_and_several_windows_the_embedding_is_the_plain_one(window, generator):
    made = encoder(window)
    image = torch.randn(2, 1, 32, 32, 32, generator=generator, dtype=torch.float64)
    expected = made(image, plain=True)
    assert expected.shape == (2, 48, 4, 4, 4)
    torch.testing.assert_close(made(image), expected, atol=1e-10, rtol=0)


def test_gradients_are_the_plain_ones(generator):
    made = encoder(5)
    image = torch.randn(1, 1, 32, 32, 32, generator=generator, dtype=torch.float64)
    weights = torch.randn(1, 48, 4, 4, 4, generator=generator, dtype=torch.float64)
    a, b = (
        torch.autograd.grad((made(image, plain=plain) * weights).sum(), list(made.parameters()))
        for plain in (False, True)
    )
    for mine, other in zip(a, b, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-8, rtol=1e-8)


def test_patches_are_embedded_as_torchs_convolution_does(generator):
    made = PatchEmbed(4, 6)
    image = torch.randn(2, 1, 12, 12, 12, generator=generator)
    torch.testing.assert_close(made(image), made.proj(image).movedim(1, -1), atol=1e-5, rtol=0)
