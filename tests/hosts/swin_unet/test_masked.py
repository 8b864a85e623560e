"""Masking by squares of patches, and the network that fills them in."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sam_moe.errors import ConfigError
from sam_moe.hosts.swin_unet.masked import MaskedSwin, masked_loss, masked_patches, patches
from sam_moe.hosts.swin_unet.sizes import SwinSizes

SIZES = SwinSizes(
    image_size=32, embed_dim=4, depths=(1, 1, 2, 2), heads=(1, 1, 2, 2), window=1, mlp_ratio=1, classes=(1,)
)


class Plain(nn.Linear):
    def forward(self, tokens, asked):
        return super().forward(tokens)


def network(sizes: SwinSizes = SIZES) -> MaskedSwin:
    torch.manual_seed(0)
    return MaskedSwin(sizes, lambda _, width, hidden: Plain(width, width))


def test_the_squares_of_the_least_noise_stay_visible():
    mask = masked_patches(torch.tensor([[0.9, 0.1, 0.5, 0.7]]), ratio=0.5).view(8, 8)
    assert mask[:4, :4].all()
    assert not mask[:4, 4:].any()
    assert not mask[4:, :4].any()
    assert mask[4:, 4:].all()


@given(st.integers(1, 6), st.sampled_from([0.25, 0.5, 0.75, 0.9, 1.0]), st.integers(0, 1000))
def test_as_many_squares_are_masked_as_the_ratio_asks(across, ratio, seed):
    noise = torch.rand(2, across * across, generator=torch.Generator().manual_seed(seed))
    mask = masked_patches(noise, ratio)
    seen = int(across * across * (1 - ratio))
    assert (~mask).sum(1).tolist() == [16 * seen] * 2
    squares = mask.view(2, across, 4, across, 4).float().mean((2, 4))
    assert set(squares.unique().tolist()) <= {0.0, 1.0}


def test_a_patch_is_its_rows_then_columns_then_channels():
    images = torch.arange(2 * 8 * 4).view(1, 2, 8, 4).float()
    cut = patches(images)
    assert cut.shape == (1, 2, 32)
    assert cut[0, 0, :4].tolist() == [0, 32, 1, 33]
    assert cut[0, 1, 0] == images[0, 0, 4, 0]


def test_the_loss_counts_masked_patches_alone():
    images = torch.zeros(1, 1, 8, 8)
    prediction = torch.zeros(1, 4, 16)
    prediction[0, 0], prediction[0, 1] = 2, 100
    assert masked_loss(prediction, images, torch.tensor([[True, False, False, False]])) == 4
    assert masked_loss(prediction, images, torch.tensor([[True, False, True, False]])) == 2


def test_what_is_masked_is_not_seen_and_what_is_not_is():
    model, images = network(), torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    mask = masked_patches(torch.tensor([[0.0, 1.0, 1.0, 1.0]]))
    with torch.no_grad():
        before = model(images, mask)
        hidden = images.clone()
        hidden[:, :, 16:, 16:] += 1
        assert torch.equal(model(hidden, mask), before)
        shown = images.clone()
        shown[:, :, :16, :16] += 1
        assert not torch.equal(model(shown, mask), before)
    assert before.shape == (1, 64, 48)


def test_it_learns_what_it_cannot_see():
    """Constant pictures: the visible square tells what the masked ones are."""
    model = network()
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    rng = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(60):
        images = torch.rand(8, 1, 1, 1, generator=rng).expand(8, 3, 32, 32).contiguous()
        mask = masked_patches(torch.rand(8, 4, generator=rng))
        loss = masked_loss(model(images, mask), images, mask)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) / 5 < 0.4 * sum(losses[:5]) / 5


def test_a_stage_smaller_than_the_window_is_refused():
    sizes = SwinSizes(image_size=64, embed_dim=4, heads=(1, 1, 1, 1), window=4, classes=(1,))
    with pytest.raises(ConfigError, match="leaves 2 tokens .* a multiple of 128"):
        network(sizes)


def test_places_are_named_as_in_the_state_dict():
    made = []

    def make(name, width, hidden):
        made.append(name)
        return Plain(width, width)

    model = MaskedSwin(SIZES, make)
    named = [name.removesuffix(".mlp") for name, module in model.named_modules() if isinstance(module, Plain)]
    assert made == named
    assert named[-1] == "layers_up.2.blocks.0"
