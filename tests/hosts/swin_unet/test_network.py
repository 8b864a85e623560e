"""The network as a whole: names, heads, neighbours, gradients, refusals."""

import pytest
import torch
from torch import nn

from sam_moe.errors import GeometryError
from sam_moe.hosts.swin_unet.network import SwinUNet
from sam_moe.hosts.swin_unet.sizes import SwinSizes

SIZES = SwinSizes(
    image_size=32, embed_dim=4, depths=(2, 1, 1, 1), heads=(1, 2, 2, 4), window=4, mlp_ratio=2, classes=(3, 2)
)


class Plain(nn.Sequential):
    """A feed-forward part that keeps what it was asked with."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, tokens, asked):
        self.asked = asked
        return super().forward(tokens)


def network(sizes: SwinSizes = SIZES, seed: int = 0) -> SwinUNet:
    torch.manual_seed(seed)
    return SwinUNet(sizes, lambda _, width, hidden: Plain(width, hidden)).eval()


def images(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


STAGE = {
    **{f"norm{n}.{kind}": None for n in (1, 2) for kind in ("weight", "bias")},
    **{f"attn.{part}.{kind}": None for part in ("qkv", "proj") for kind in ("weight", "bias")},
    **{f"mlp.{n}.{kind}": None for n in (0, 2) for kind in ("weight", "bias")},
    "attn.relative_position_bias_table": None,
}


def test_the_state_dict_has_the_public_names_and_nothing_computed():
    blocks = ["layers.0.blocks.0", "layers.0.blocks.1", "layers.1.blocks.0", "layers.2.blocks.0"]
    blocks += ["layers.3.blocks.0", "layers_up.1.blocks.0", "layers_up.2.blocks.0"]
    blocks += ["layers_up.3.blocks.0", "layers_up.3.blocks.1"]
    expected = {f"{block}.{name}" for block in blocks for name in STAGE}
    for place in (0, 1, 2):
        expected |= {
            f"layers.{place}.downsample.{name}" for name in ("reduction.weight", "norm.weight", "norm.bias")
        }
    for place in ("layers_up.0", "layers_up.1.upsample", "layers_up.2.upsample", "up"):
        expected |= {f"{place}.{name}" for name in ("expand.weight", "norm.weight", "norm.bias")}
    both = ["patch_embed.proj", "patch_embed.norm", "norm", "norm_up"]
    both += [f"concat_back_dim.{step}" for step in (1, 2, 3)]
    expected |= {f"{place}.{kind}" for place in both for kind in ("weight", "bias")}
    expected |= {"outputs.0.weight", "outputs.1.weight"}
    assert set(network().state_dict()) == expected


def test_feed_forward_parts_are_made_in_the_order_of_the_blocks():
    made = []

    def make(name, width, hidden):
        made.append((name, width, hidden))
        return Plain(width, hidden)

    SwinUNet(SIZES, make)
    assert [name for name, *_ in made] == [
        "layers.0.blocks.0",
        "layers.0.blocks.1",
        "layers.1.blocks.0",
        "layers.2.blocks.0",
        "layers.3.blocks.0",
        "layers_up.1.blocks.0",
        "layers_up.2.blocks.0",
        "layers_up.3.blocks.0",
        "layers_up.3.blocks.1",
    ]
    assert {(width, hidden) for _, width, hidden in made} == {(4, 8), (8, 16), (16, 32), (32, 64)}


@torch.no_grad()
def test_a_row_is_answered_by_its_own_head_whatever_stands_beside_it():
    model, pictures, heads = network(), images(4, 3, 32, 32), torch.tensor([1, 0, 1, 0])
    together = model(pictures, heads)
    assert together.shape == (4, 3, 32, 32)
    for row, head in enumerate(heads.tolist()):
        alone = model(pictures[row : row + 1], heads[row : row + 1])
        assert alone.shape == (1, SIZES.classes[head], 32, 32)
        torch.testing.assert_close(together[row, : SIZES.classes[head]], alone[0], rtol=0, atol=1e-5)
    assert not together[heads == 1, 2].any()


@torch.no_grad()
def test_no_picture_is_no_answer():
    model = network()
    assert model(images(0, 3, 32, 32), torch.empty(0, dtype=torch.long)).shape == (0, 3, 32, 32)
    assert model.features(images(0, 3, 32, 32)).shape == (0, 4, 32, 32)


@torch.no_grad()
def test_one_channel_stands_for_equal_neighbours():
    model, one = network(), images(1, 1, 32, 32)
    head = torch.tensor([0])
    assert torch.equal(model(one, head), model(one.repeat(1, 3, 1, 1), head))


@torch.no_grad()
def test_all_blocks_are_asked_with_the_same():
    model, asked = network(), object()
    model(images(1, 3, 32, 32), torch.tensor([0]), asked)
    parts = [module for module in model.modules() if isinstance(module, Plain)]
    assert len(parts) == 9
    assert all(part.asked is asked for part in parts)


def test_every_parameter_learns_but_the_heads_that_no_row_has():
    model = network()
    model(images(2, 3, 32, 32), torch.tensor([0, 0])).square().sum().backward()
    still = {n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    # One token a side has one relative position, whose bias adds the same to every key
    alone = {"layers.3.blocks.0.attn.relative_position_bias_table"}
    assert still - alone == {"outputs.1.weight"}


@torch.no_grad()
def test_single_and_double_precision_agree():
    model, pictures, heads = network(), images(2, 3, 32, 32), torch.tensor([0, 1])
    single = model(pictures, heads)
    double = model.double()(pictures.double(), heads)
    assert double.dtype == torch.float64
    torch.testing.assert_close(single.double(), double, rtol=0, atol=1e-4)


@pytest.mark.parametrize("shape", [(64, 32), (32, 64), (30, 30)])
def test_a_picture_of_another_size_is_refused(shape):
    with pytest.raises(GeometryError, match=rf"{shape[0]} x {shape[1]} pixels, expected 32 x 32"):
        network().features(images(1, 3, *shape))


@torch.no_grad()
def test_a_pixel_reaches_every_other_through_the_deepest_window():
    model, pictures = network(), images(1, 3, 32, 32)
    changed = pictures.clone()
    changed[0, :, 0, 0] += 1
    assert (model.features(changed) - model.features(pictures)).abs().amax(1).gt(0).all()
