"""The paper's pretraining: squares of pixels are hidden, one expert fills them in, all else stays."""

import pytest
import torch

from sam_moe.moe.system import learning
from sam_moe.systems.m4oe.train.masked import MaskedLoss, masked_pixels
from tests.systems.contract import digests
from tests.systems.m4oe.tiny import CONV, SWIN, mixture_of, network, noise

BOTH = pytest.mark.parametrize("sizes", [CONV, SWIN], ids=["conv", "swin"])


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_three_of_four_squares_of_sixteen_pixels_are_hidden_whole():
    hidden = masked_pixels(noise(5, 3, 32, 32), rng())
    assert hidden.shape == (5, 1, 32, 32)
    squares = hidden.reshape(5, 2, 16, 2, 16).permute(0, 1, 3, 2, 4).flatten(3)
    assert torch.equal(squares.all(dim=3), squares.any(dim=3))
    assert squares.all(dim=3).sum(dim=(1, 2)).tolist() == [3] * 5
    assert torch.equal(masked_pixels(noise(5, 3, 32, 32), rng()), hidden)
    assert not torch.equal(masked_pixels(noise(5, 3, 32, 32), rng(1)), hidden)


@BOTH
def test_the_loss_is_of_hidden_pixels_alone_and_what_they_hold_is_not_seen(sizes):
    loss, images = MaskedLoss(network(sizes, mixture_of()), 1), noise(2, 3, 32, 32)
    with torch.no_grad():
        error, hidden = loss.errors(images, rng())
        assert float(loss({"image": images}, rng())) == pytest.approx(float(error[hidden].mean()))
        other = torch.where(hidden, images + 5, images)
        seen, _ = loss.errors(other, rng())
        torch.testing.assert_close(
            seen[~hidden], error[~hidden]
        )  # the same answer to the same visible pixels


@BOTH
def test_a_step_changes_the_expert_and_keeps_every_other_bit(sizes):
    model = network(sizes, mixture_of())
    loss = MaskedLoss(model, 1)
    phase = next(phase for phase in model.phases() if phase.name == "masked-mr-t2")
    before = digests(model.state_dict())
    with learning(model, phase):
        optimiser = torch.optim.Adam([p for p in loss.parameters() if p.requires_grad], lr=0.01)
        for _ in range(2):
            loss({"image": noise(2, 3, 32, 32)}, rng()).backward()
            optimiser.step()
            optimiser.zero_grad()
    after = digests(model.state_dict())
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {name for name in after if ".site.experts.mr-t2." in name}
    assert loss.token.any() and loss.filled.weight.requires_grad


def test_the_mean_of_the_hidden_body_explains_nothing_of_it():
    """A network that answers the body's mean everywhere has a share of 1 unexplained; air is left out."""
    loss, images = (
        MaskedLoss(network(CONV, mixture_of()), 0),
        noise(1, 1, 32, 32).repeat(1, 3, 1, 1).abs() + 1,
    )
    images[:, :, :8] = 0.0
    with torch.no_grad():
        hidden = masked_pixels(images, rng()).expand_as(images)
        loss.filled.weight.zero_()
        loss.filled.bias.fill_(float(images[hidden & (images > 0)].mean()))
        assert loss.unexplained(images, rng()) == pytest.approx(1, abs=1e-4)
