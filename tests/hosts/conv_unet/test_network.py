"""The convolutional network: its places, MONAI's U-Net underneath, heads, any size that halves."""

import pytest
import torch
from monai.networks.nets import BasicUNet
from torch import nn

from sam_moe.hosts.conv_unet.network import ConvUNet
from sam_moe.hosts.conv_unet.sizes import ConvSizes

SIZES = ConvSizes(image_size=16, widths=(4, 6, 8, 8), site_levels=2, mlp_ratio=2, classes=(3, 2))


class Plain(nn.Sequential):
    """A feed-forward part that keeps what it was asked with, and the vectors that it was given."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, tokens, asked):
        self.tokens, self.asked = tokens, asked
        return super().forward(tokens)


class Nothing(nn.Module):
    """A feed-forward part that adds nothing."""

    def forward(self, tokens, asked):
        return torch.zeros_like(tokens)


def network(sizes=SIZES, make=Plain, seed=0):
    torch.manual_seed(seed)
    return ConvUNet(sizes, lambda _, width, hidden: make(width, hidden)).eval()


def images(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def test_places_are_made_in_the_order_in_which_they_answer_on_the_coarsest_levels_alone():
    made, ran = [], []

    def make(name, width, hidden):
        made.append((name, width, hidden))
        part = Plain(width, hidden)
        part.register_forward_hook(lambda *_: ran.append(name))
        return part

    ConvUNet(SIZES, make)(images(1, 3, 16, 16), torch.tensor([0]))
    assert made == [("down.2", 8, 16), ("down.3", 8, 16), ("up.2", 8, 16)]
    assert ran == [name for name, *_ in made]


def test_a_place_is_given_normalised_vectors_of_its_map_and_adds_its_answer():
    one = network()
    place, kept = one.down_places["3"], []
    place.register_forward_hook(lambda module, given, answer: kept.append((given[0], answer)))
    asked = object()
    one.features(images(2, 3, 16, 24), asked)
    (given, answer), part = kept[0], place.mlp
    assert part.asked is asked and part.tokens.shape == (2, 2 * 3, 8)
    torch.testing.assert_close(part.tokens[1, 4], place.norm(given[1, :, 1, 1]))
    torch.testing.assert_close(answer[1, :, 1, 1], given[1, :, 1, 1] + part(part.tokens, None)[1, 4])


def test_without_its_places_it_is_monais_unet():
    """The same convolutions under MONAI's names, level by level; ours keep channels where they expand."""
    sizes = ConvSizes(image_size=32, widths=(4, 6, 8, 8, 10), site_levels=1, classes=(3,))
    ours = network(sizes, lambda *_: Nothing())
    theirs = BasicUNet(2, 3, 3, features=(4, 6, 8, 8, 10, 4), upsample="deconv").eval()
    names = {"conv_0": "stem", "final_conv": "outputs.0"}
    names |= {f"down_{n}": f"down.{n - 1}" for n in range(1, 5)}
    state = ours.state_dict()
    wanted = {}
    for name in theirs.state_dict():
        first, rest = name.split(".", 1)
        if first in names:
            wanted[name] = state[f"{names[first]}.{rest}"]
    assert not theirs.load_state_dict(wanted, strict=False).unexpected_keys
    x = images(2, 3, 32, 32)
    levels = [theirs.conv_0(x)]
    for down in (theirs.down_1, theirs.down_2, theirs.down_3, theirs.down_4):
        levels.append(down(levels[-1]))
    mine = ours.stem(x)
    torch.testing.assert_close(mine, levels[0])
    for n, down in enumerate(ours.down, start=1):
        mine = down(mine)
        torch.testing.assert_close(mine, levels[n])
    for up, skip in zip(ours.up, reversed(levels[:-1]), strict=True):
        mine = up(mine, skip)
    torch.testing.assert_close(ours.features(x), mine)
    torch.testing.assert_close(ours(x, torch.zeros(2, dtype=torch.long)), theirs.final_conv(mine))


def test_each_row_is_answered_by_its_own_head_and_shorter_ones_are_filled_with_zeros():
    one, x = network(), images(3, 3, 16, 16)
    joined = one(x, torch.tensor([1, 0, 1]))
    assert joined.shape == (3, 3, 16, 16) and (joined[[0, 2], 2] == 0).all()
    features = one.features(x)
    torch.testing.assert_close(joined[1], one.outputs[0](features)[1])
    torch.testing.assert_close(joined[[0, 2], :2], one.outputs[1](features)[[0, 2]])
    assert one(x, torch.tensor([1, 1, 1])).shape == (3, 2, 16, 16)


@pytest.mark.parametrize("shape", [(16, 16), (8, 24), (40, 16)])
def test_any_sides_that_can_be_halved_are_answered_at_their_own_pixels(shape):
    assert network()(images(1, 3, *shape), torch.tensor([0])).shape == (1, 3, *shape)


def test_rows_do_not_see_each_other():
    one, x = network(), images(3, 3, 16, 16)
    torch.testing.assert_close(one.features(x)[1], one.features(x[[1]])[0], rtol=1e-4, atol=1e-5)


def test_every_weight_but_the_other_heads_learns():
    one = network()
    one(images(2, 3, 16, 16), torch.tensor([0, 0])).square().sum().backward()
    still = {name for name, p in one.named_parameters() if p.grad is None or not p.grad.any()}
    # A bias before an instance norm is taken out again by it
    assert {name for name in still if "conv.bias" not in name} == {"outputs.1.weight", "outputs.1.bias"}
