"""Small layers, against torch's; and what is computed once from parameters is never stale."""

import copy
import pickle

import pytest
import torch
from torch import nn

from sam_moe.hosts.sam3d.network.attention import WindowAttention
from sam_moe.hosts.sam3d.network.layers import MLP, Derived, LayerNorm3d


def attention(window: int, seed: int = 0) -> WindowAttention:
    """In float64, with large random weights; its tables are derived."""
    layer = WindowAttention(6, 2, window).double()
    generator = torch.Generator().manual_seed(seed)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.8, generator=generator)
    return layer


def tokens(grid: int, channels: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(1, grid, grid, grid, channels, generator=generator, dtype=torch.float64)


def test_a_channel_first_layer_norm_is_torchs_over_the_channels(generator):
    ours, theirs = LayerNorm3d(6), nn.LayerNorm(6, eps=1e-6)
    ours.load_state_dict({"weight": torch.arange(6.0), "bias": torch.ones(6)})
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 6, 3, 4, 5, generator=generator)
    torch.testing.assert_close(ours(x), theirs(x.movedim(1, -1)).movedim(-1, 1))
    torch.testing.assert_close(ours.over_last(x.movedim(1, -1)), theirs(x.movedim(1, -1)))


def test_an_mlp_has_relu_between_its_layers_and_nothing_after_the_last(generator):
    mlp = MLP((4, 5, 3))
    x = torch.randn(7, 4, generator=generator)
    first, last = mlp.layers
    torch.testing.assert_close(mlp(x), last(first(x).clamp(min=0)))
    assert mlp(x).min() < 0


class Counted:
    """Doubles a parameter, counting how often it really did."""

    def __init__(self) -> None:
        self.parameter = nn.Parameter(torch.tensor([1.0, 2.0]))
        self.derived, self.times = Derived(), 0

    def __call__(self) -> torch.Tensor:
        def compute() -> tuple[torch.Tensor, ...]:
            self.times += 1
            return (2 * self.parameter,)

        return self.derived(compute, self.parameter)[0]


def test_without_gradients_a_derived_tensor_is_computed_once():
    counted = Counted()
    with torch.no_grad():
        assert counted() is counted()
    assert counted.times == 1


def test_under_gradients_it_is_computed_each_time_and_carries_them():
    counted = Counted()
    counted()
    counted().sum().backward()
    assert counted.times == 2
    assert counted.parameter.grad.tolist() == [2.0, 2.0]


def test_an_optimisers_step_is_seen():
    counted = Counted()
    with torch.no_grad():
        counted()
    counted.parameter.grad = torch.tensor([1.0, 1.0])
    torch.optim.SGD([counted.parameter], lr=0.5).step()
    with torch.no_grad():
        assert counted().tolist() == [1.0, 3.0]


def test_loaded_weights_are_seen():
    layer, other = attention(3), attention(3, seed=1)
    with torch.no_grad():
        before = layer.tables().d.clone()
        layer.load_state_dict(other.state_dict())
        assert torch.equal(layer.tables().d, other.tables().d)
        assert not torch.equal(layer.tables().d, before)


def test_another_precision_and_back_is_seen_each_time():
    layer, x = attention(3), tokens(2, 6)
    with torch.no_grad():
        for dtype in (torch.float64, torch.bfloat16, torch.float64, torch.float32, torch.float64):
            layer = layer.to(dtype)
            rounded = layer.rel_pos_d.detach().clone()
            assert layer.tables().d.dtype == dtype
            assert torch.equal(layer.tables().d[0, 0], rounded[2])  # R[0, 0] is rel_pos[0 - 0 + window - 1]
            assert layer(x.to(dtype)).dtype == dtype


def test_memory_freed_and_used_again_is_not_taken_for_the_same_tensor():
    derived = Derived()
    with torch.no_grad():
        for value in range(50):
            source = torch.full((1000,), float(value))
            assert derived(lambda s=source: (s + 1,), source)[0][0] == value + 1


def test_what_was_kept_in_inference_mode_serves_a_training_step():
    layer, x = attention(3), tokens(2, 6)
    layer.requires_grad_(False)
    with torch.inference_mode():
        layer(x)
    x = x.clone().requires_grad_()
    layer(x).sum().backward()
    assert x.grad.abs().sum() > 0


def test_what_autocast_rounds_is_not_met_again_outside_it():
    layer = attention(3).float()
    x = tokens(2, 6).float()
    with torch.no_grad():
        expected = copy.deepcopy(layer)(x)
        with torch.autocast("cpu", torch.bfloat16):
            assert not torch.equal(layer(x).float(), expected)
        assert torch.equal(layer(x), expected)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_keeps_nothing_of_the_original(duplicate):
    layer = attention(3)
    with torch.no_grad():
        layer.tables()
        twin = duplicate(layer)
        twin.rel_pos_d.zero_()
        assert twin.tables().d.abs().max() == 0
        assert layer.tables().d.abs().max() > 0
