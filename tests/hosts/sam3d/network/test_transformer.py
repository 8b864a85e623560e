"""The two-way transformer against segment-anything's, weights the same."""

import pytest
import torch
from torch import Tensor, nn

from sam_moe.hosts.sam3d.network.transformer import TwoWayTransformer
from sam_moe.hosts.sam3d.segment_anything import prepare


def randomise(module: nn.Module, seed: int = 0) -> None:
    """Every parameter drawn anew, so that nothing is zero or one by default."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.15, generator=generator)


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def theirs_of(ours: TwoWayTransformer, dim: int, depth: int, heads: int, mlp_dim: int) -> nn.Module:
    """segment-anything's transformer with our weights: the names are the same."""
    prepare()  # it imports without torchvision from here on
    from segment_anything.modeling import TwoWayTransformer as Theirs

    theirs = Theirs(depth, dim, heads, mlp_dim).double().eval()
    theirs.load_state_dict(ours.state_dict(), strict=True)
    return theirs


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize(("batch", "tokens"), [(1, 7), (2, 5), (1, 40)])
def test_the_two_way_transformer_is_segment_anythings(depth, batch, tokens):
    ours = TwoWayTransformer(48, depth, num_heads=8, mlp_dim=64).double()
    randomise(ours)
    theirs = theirs_of(ours, 48, depth, 8, 64)
    source, position, prompt = (
        noise(batch, 48, 4, 16),
        noise(1, 48, 4, 16, seed=2),
        noise(batch, tokens, 48, seed=3),
    )
    expected = theirs(source, position.expand_as(source), prompt)
    got = ours(source.flatten(2).transpose(1, 2), position.flatten(2).transpose(1, 2), prompt)
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_its_gradients_are_segment_anythings():
    ours = TwoWayTransformer(48, 2, num_heads=8, mlp_dim=64).double()
    randomise(ours)
    theirs = theirs_of(ours, 48, 2, 8, 64)
    source, position, prompt = (noise(1, 48, 4, 16, seed=s).requires_grad_() for s in (1, 2, 3))
    prompt = noise(1, 7, 48, seed=4).requires_grad_()
    out = ours(source.flatten(2).transpose(1, 2), position.flatten(2).transpose(1, 2), prompt)
    expected = theirs(source, position, prompt)
    weights = [noise(*x.shape, seed=5) for x in expected]
    names = [name for name, _ in ours.named_parameters()]
    a, b = (
        torch.autograd.grad(
            sum((x * w).sum() for x, w in zip(answer, weights, strict=True)),
            [source, position, prompt, *(dict(network.named_parameters())[name] for name in names)],
        )
        for answer, network in ((out, ours), (expected, theirs))
    )
    for name, mine, other in zip(["source", "position", "prompt", *names], a, b, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-10, msg=lambda m, name=name: f"{name}: {m}")
