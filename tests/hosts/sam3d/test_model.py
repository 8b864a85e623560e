"""The whole model's own promises: precision, and that frozen parts can be trained around."""

import pytest
import torch

from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.sizes import Sizes

SIZES = Sizes(16, 8, 24, 2, 2, 3, (1,), 48, 16, 8, 2, 8)


def noise(*shape: int) -> torch.Tensor:
    return 5 * torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model() -> SamMed3D:
    torch.manual_seed(0)
    return SamMed3D(SIZES).eval()


def test_bfloat16_is_an_option_that_gives_float32_within_its_precision(model):
    image = noise(1, 1, 16, 16, 16) / 5
    with torch.no_grad():
        exact, rounded = model.encode(image), model.encode(image, dtype=torch.bfloat16)
    assert rounded.dtype == torch.float32
    error = (rounded - exact).pow(2).mean().sqrt() / exact.pow(2).mean().sqrt()
    assert 0 < error < 0.03


def test_the_callers_autocast_stays_in_force(model):
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert model.image_encoder.blocks[0].mlp(noise(1, 24)).dtype == torch.bfloat16
        assert torch.equal(
            model.encode(noise(1, 1, 16, 16, 16)), model.encode(noise(1, 1, 16, 16, 16)).bfloat16()
        )


def test_a_click_trains_the_decoder_after_the_same_model_predicted_in_inference_mode(model):
    """A dense map kept in inference mode would end the training step with an error."""
    image, point, label = noise(1, 1, 16, 16, 16), torch.tensor([[[3.0, 4.0, 5.0]]]), torch.tensor([[1]])
    with torch.inference_mode():
        predicted = model(image, point, label)
    trained = model(image, point, label)
    trained.sum().backward()
    assert model.mask_decoder.mask_tokens.weight.grad.abs().sum() > 0
    torch.testing.assert_close(trained.detach(), predicted, rtol=0, atol=1e-5)
