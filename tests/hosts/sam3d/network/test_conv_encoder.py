"""The convolutional encoder is MONAI's residual units, and takes the ViT's place with no change elsewhere."""

from dataclasses import replace

import pytest
import torch
from monai.networks.blocks import ResidualUnit as MonaiUnit

from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.network.conv_encoder import ConvEncoder, ResidualUnit
from sam_moe.hosts.sam3d.sizes import Sizes

SIZES = Sizes(
    image_size=32,
    patch_size=8,
    embed_dim=24,
    depth=2,
    out_channels=48,
    decoder_mlp_dim=32,
    iou_hidden_dim=16,
    corner_embeddings=True,
    encoder="conv",
    conv_widths=(8, 12),
)


@pytest.mark.parametrize(("inside", "outside", "stride"), [(1, 8, 2), (8, 12, 2), (12, 12, 1), (8, 12, 1)])
def test_a_unit_is_monais_with_its_names_and_its_numbers(inside: int, outside: int, stride: int) -> None:
    torch.manual_seed(0)
    monai = MonaiUnit(
        3, inside, outside, strides=stride, norm=("INSTANCE", {"affine": True}), act="GELU", subunits=2
    )
    for parameter in monai.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    ours = ResidualUnit(inside, outside, stride)
    ours.load_state_dict(monai.state_dict(), strict=True)
    x = torch.randn(2, inside, 8, 8, 8)
    assert torch.equal(ours(x), monai(x))


def test_a_region_becomes_an_embedding_of_the_grids_size() -> None:
    encoder = ConvEncoder(SIZES)
    assert encoder(torch.randn(2, 1, 32, 32, 32)).shape == (2, 48, 4, 4, 4)


def test_the_model_answers_and_learns_with_either_encoder() -> None:
    vit = replace(SIZES, encoder="vit", conv_widths=(), num_heads=4, window_size=2)
    image, point = torch.randn(1, 1, 32, 32, 32), torch.tensor([[[5.0, 6.0, 7.0]]])
    for sizes in (SIZES, vit):
        torch.manual_seed(1)
        model = SamMed3D(sizes)
        logits = model(image, point, torch.ones(1, 1, dtype=torch.long), None, torch.zeros(1, 1, 16, 16, 16))
        assert logits.shape == (1, 1, 16, 16, 16)
        logits.square().mean().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.image_encoder.parameters())


def test_half_precision_comes_out_as_float32_and_close() -> None:
    torch.manual_seed(2)
    encoder, image = ConvEncoder(SIZES).eval(), torch.randn(1, 1, 32, 32, 32)
    with torch.no_grad():
        exact, rough = encoder(image), encoder(image, dtype=torch.bfloat16)
    assert rough.dtype == torch.float32
    assert 0 < (exact - rough).square().mean().sqrt() < 0.05
