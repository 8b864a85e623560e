"""The collapsed window is the plain one, whatever the sizes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sam_moe.hosts.sam3d.network.attention import Span, WindowAttention, window_spans


def attention(window: int, heads: int = 2, head_dim: int = 3, seed: int = 0) -> WindowAttention:
    """In float64, with large random weights: softmaxes far from even, pad tokens far from zero."""
    layer = WindowAttention(heads * head_dim, heads, window).double()
    generator = torch.Generator().manual_seed(seed)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.8, generator=generator)
    return layer


def tokens(grid: int, channels: int, batch: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, grid, grid, grid, channels, generator=generator, dtype=torch.float64)


@pytest.mark.slow
@settings(max_examples=60)
@given(
    grid=st.integers(1, 8),
    window=st.integers(1, 15),
    heads=st.integers(1, 3),
    batch=st.integers(1, 2),
    seed=st.integers(0, 99),
)
def test_collapsed_attention_is_the_plain_one(grid, window, heads, batch, seed):
    layer, x = attention(window, heads, seed=seed), tokens(grid, 3 * heads, batch)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), layer.plain(x), rtol=0, atol=1e-10)


@pytest.mark.parametrize(("grid", "window"), [(4, 4), (4, 7), (5, 3), (4, 2), (1, 3)])
def test_gradients_of_collapsed_attention_are_the_plain_ones(grid, window):
    layer, x = attention(window), tokens(grid, 6).requires_grad_()
    sources = [x, *layer.parameters()]
    weight = torch.randn(x.shape, generator=torch.Generator().manual_seed(2), dtype=x.dtype)
    ours = torch.autograd.grad((layer(x) * weight).sum(), sources)
    plain = torch.autograd.grad((layer.plain(x) * weight).sum(), sources)
    for a, b in zip(ours, plain, strict=True):
        assert b.abs().max() > 0
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


def test_the_bias_is_the_references_and_not_the_textbooks():
    """By hand, for one query in a window of 2 over a grid of 2, with one channel."""
    layer = attention(2, heads=1, head_dim=1)
    with torch.no_grad():
        layer.qkv.weight.copy_(
            torch.tensor([[1.0], [0.0], [1.0]])
        )  # q = v = x, k = 0: the bias alone decides
        layer.qkv.bias.zero_()
        layer.proj.weight.fill_(1.0)
        layer.proj.bias.zero_()
        x = torch.arange(1.0, 9.0, dtype=torch.float64).view(1, 2, 2, 2, 1) / 8
        q = x[0, ..., 0]
        d, h, w = 1, 0, 1
        bias = torch.empty(2, 2, 2, dtype=torch.float64)
        for kd in range(2):
            for kh in range(2):
                for kw in range(2):
                    bias[kd, kh, kw] = (
                        q[d, h, w] * layer.rel_pos_d[d - kw + 1, 0]
                        + q[d, h, kd] * layer.rel_pos_h[h - kw + 1, 0]
                        + q[d, h, kh] * layer.rel_pos_w[kh - kw + 1, 0]
                    )
        expected = (bias.flatten().softmax(0) * q.flatten()).sum()
        torch.testing.assert_close(layer(x)[0, d, h, w, 0], expected, rtol=0, atol=1e-12)


def test_spans_are_the_full_windows_and_then_the_rest():
    assert window_spans(8, 14) == [Span(0, 8, 8)]
    assert window_spans(8, 3) == [Span(0, 6, 3), Span(6, 8, 2)]
    assert window_spans(8, 4) == [Span(0, 8, 4)]


@given(grid=st.integers(1, 20), window=st.integers(1, 20))
def test_spans_cover_the_axis_once(grid, window):
    spans = window_spans(grid, window)
    assert [i for s in spans for i in range(s.start, s.stop)] == list(range(grid))
    assert all((s.stop - s.start) % s.extent == 0 and s.extent <= window for s in spans)
