"""Windowed attention of SAM-Med3D's encoder: plain over padded windows, and its exact, much cheaper collapse.

The reference pads the token grid with zeros *at its high end* to whole windows and attends without a mask, so
a pad token takes part with query, key and value equal to the qkv biases. Its relative-position bias is not
the textbook's (the weights were trained so): for a query (d, h, w) and a key (kd, kh, kw), with unscaled
queries q and tables R[i, j] = rel_pos[i - j + window - 1],

    bias = q[d, h, w] . R_d[d, kw]  +  q[d, h, kd] . R_h[h, kw]  +  q[d, h, kh] . R_w[kh, kw]

Pinned by tests/hosts/sam3d/test_reference.py against vectors computed by the reference.
"""

from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam_moe.hosts.sam3d.network.layers import Derived
from sam_moe.shapes import Float


class Tables(NamedTuple):
    """Relative-position tables gathered to (query index, key index, channel), one per axis."""

    d: Float[Tensor, "n n c"]
    h: Float[Tensor, "n n c"]
    w: Float[Tensor, "n n c"]


class WindowAttention(nn.Module):
    """Multi-head attention inside cubic windows with the reference's decomposed relative positions.

    `window == grid` attends over the whole grid. `plain` is the definition and the test's oracle;
    `forward` computes the same without ever building a pad token ("ours"; see `collapsed_attention`).
    """

    def __init__(self, dim: int, num_heads: int, window: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window = window
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        head_dim = dim // num_heads
        self.rel_pos_d = nn.Parameter(torch.zeros(2 * window - 1, head_dim))
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * window - 1, head_dim))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * window - 1, head_dim))
        self._gathered = Derived()

    def tables(self) -> Tables:
        """Gather the three tables; computed once while the weights stay as they are."""

        def gather() -> tuple[Tensor, ...]:
            n = torch.arange(self.window, device=self.rel_pos_d.device)
            index = n[:, None] - n[None, :] + self.window - 1
            return self.rel_pos_d[index], self.rel_pos_h[index], self.rel_pos_w[index]

        return Tables(*self._gathered(gather, self.rel_pos_d, self.rel_pos_h, self.rel_pos_w))

    def forward(self, x: Float[Tensor, "b g g g c"]) -> Float[Tensor, "b g g g c"]:
        """Attend window by window over real tokens only; all pad tokens of a window act as one key."""
        batch, grid, *_, dim = x.shape
        qkv = self.qkv(x).view(batch, grid, grid, grid, 3, self.num_heads, dim // self.num_heads)
        bias = self.qkv.bias.to(qkv.dtype).view(3, self.num_heads, -1)
        tables = self.tables()
        attended = torch.empty_like(x, dtype=qkv.dtype) if grid > self.window else None
        for spans in product(window_spans(grid, self.window), repeat=3):
            (d, h, w) = spans
            block = qkv[:, d.start : d.stop, h.start : h.stop, w.start : w.stop]
            q, k, v = _split_windows(block, tuple(s.extent for s in spans))
            out = collapsed_attention(q, k, v, bias, tables)
            out = _join_windows(out, batch, spans)
            if attended is None:
                return self.proj(out)  # type: ignore[no-any-return]  # nn.Module calls are untyped
            attended[:, d.start : d.stop, h.start : h.stop, w.start : w.stop] = out
        return self.proj(attended)  # type: ignore[no-any-return]

    def plain(self, x: Float[Tensor, "b g g g c"]) -> Float[Tensor, "b g g g c"]:
        """The definition, as the reference computes it: pad, cut windows, attend to every token, crop."""
        batch, grid, *_, dim = x.shape
        n = self.window
        pad = -grid % n
        padded = F.pad(x, (0, 0, 0, pad, 0, pad, 0, pad))
        count = (grid + pad) // n
        windows = padded.view(batch, count, n, count, n, count, n, dim).permute(0, 1, 3, 5, 2, 4, 6, 7)
        windows = windows.reshape(-1, n, n, n, dim)
        qkv = self.qkv(windows).view(len(windows), n**3, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        cube = q.unflatten(2, (n, n, n))
        tables = self.tables()
        a = torch.einsum("bedhwc,dkc->bedhwk", cube, tables.d)
        b = torch.einsum("bedhic,hkc->bedhik", cube, tables.h)
        c = torch.einsum("bedhic,ikc->bedhik", cube, tables.w)
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        scores = scores.unflatten(2, (n, n, n)).unflatten(-1, (n, n, n))
        scores = scores + a[..., None, None, :] + b[..., None, :, None, :] + c[..., None, None, :, :]
        weights = scores.flatten(-3).flatten(2, 4).softmax(dim=-1)
        out: Tensor = self.proj((weights @ v).transpose(1, 2).reshape(-1, n**3, dim))
        out = out.view(batch, count, count, count, n, n, n, dim).permute(0, 1, 4, 2, 5, 3, 6, 7)
        return out.reshape(batch, count * n, count * n, count * n, dim)[:, :grid, :grid, :grid]


class Span(NamedTuple):
    """Neighbouring windows along one axis that hold equally many real tokens."""

    start: int
    stop: int
    extent: int


def window_spans(grid: int, window: int) -> list[Span]:
    """Split an axis into its full windows and, where the grid is no multiple, the padded last one.

    >>> window_spans(8, 14), window_spans(8, 3)
    ([Span(start=0, stop=8, extent=8)], [Span(start=0, stop=6, extent=3), Span(start=6, stop=8, extent=2)])
    """
    full = grid - grid % window
    spans = [Span(0, full, window)] if full else []
    return spans + ([Span(full, grid, grid - full)] if full < grid else [])


def _split_windows(
    block: Float[Tensor, "b d h w three e c"], extent: tuple[int, ...]
) -> tuple[Float[Tensor, "m e x y z c"], ...]:
    """Cut a block of equal windows into (windows, heads, tokens along each axis, channels): q, k and v."""
    batch, depth, height, width, _, heads, channels = block.shape
    x, y, z = extent
    cut = block.view(batch, depth // x, x, height // y, y, width // z, z, 3, heads, channels)
    cut = cut.permute(7, 0, 1, 3, 5, 8, 2, 4, 6, 9)
    q, k, v = cut.reshape(3, -1, heads, x, y, z, channels).unbind(0)
    return q, k, v


def _join_windows(
    out: Float[Tensor, "m e x y z c"], batch: int, spans: tuple[Span, ...]
) -> Float[Tensor, "b d h w ec"]:
    """The inverse of `_split_windows`, heads side by side in the last axis."""
    heads, (x, y, z), channels = out.shape[1], out.shape[2:5], out.shape[5]
    counts = [(s.stop - s.start) // s.extent for s in spans]
    cube = out.view(batch, *counts, heads, x, y, z, channels).permute(0, 1, 5, 2, 6, 3, 7, 4, 8)
    return cube.reshape(batch, counts[0] * x, counts[1] * y, counts[2] * z, heads * channels)


def collapsed_attention(
    q: Float[Tensor, "m e x y z c"],
    k: Float[Tensor, "m e x y z c"],
    v: Float[Tensor, "m e x y z c"],
    bias: Float[Tensor, "3 e c"],
    tables: Tables,
) -> Float[Tensor, "m e x y z c"]:
    """Attention over a window whose padding is gathered into one virtual key, exactly.

    All pad tokens share one key (the k bias) and one value (the v bias), so together they weigh exp(s * q .
    b_k) * sum over pad keys of exp(position bias): one more key with that logit (`_padding_logit`). Only
    positive terms are added, so nothing cancels. Ours; equal to `WindowAttention.plain` (tests, float64
    1e-10).
    """
    windows, heads, x, y, z, channels = q.shape
    n = len(tables.d)
    padded = min(x, y, z) < n
    along_w = q
    if z < n:  # beyond the real tokens along w stand pad queries, which are the q bias
        pad = bias[0].view(1, heads, 1, 1, 1, channels).expand(windows, heads, x, y, n - z, channels)
        along_w = torch.cat([q, pad], dim=4)
    a = torch.einsum("medhwc,dkc->medhwk", q, tables.d[:x])
    b = torch.einsum("medhic,hkc->medhik", along_w, tables.h[:y])
    c = torch.einsum("medhic,ikc->medhik", along_w, tables.w)
    # The position bias is the encoder's largest tensor. The two terms that do not depend on the query's w
    # come first, being z times fewer; the sum is written where it stays, in runs of y * z numbers.
    shared = (b[..., :x, None, :z] + c[..., None, :y, :z]).flatten(-2)
    along_kw = a[..., None, :z].expand(*a.shape[:-1], y, z).flatten(-2)
    position = a.new_empty(*a.shape[:-1], x * y * z + padded)
    cube = position[..., : x * y * z].unflatten(-1, (x, y * z))
    cube.copy_(shared[:, :, :, :, None].expand_as(cube))
    cube += along_kw[..., None, :]
    k, v = k.flatten(2, 4), v.flatten(2, 4)
    if padded:
        position[..., -1] = _padding_logit(a, b, c, (x, y, z))
        k = torch.cat([k, bias[1].view(1, heads, 1, channels).expand(windows, -1, -1, -1)], dim=2)
        v = torch.cat([v, bias[2].view(1, heads, 1, channels).expand(windows, -1, -1, -1)], dim=2)
    out = F.scaled_dot_product_attention(q.flatten(2, 4), k, v, attn_mask=position.flatten(2, 4))
    cubes: Tensor = out.unflatten(2, (x, y, z))
    return cubes


def _padding_logit(
    a: Float[Tensor, "m e x y z n"],
    b: Float[Tensor, "m e x y n n"],
    c: Float[Tensor, "m e x y n n"],
    real: tuple[int, int, int],
) -> Float[Tensor, "m e x y z"]:
    """Log-sum-exp of the position bias over all pad keys, without building them.

    `b[..., kd, kw]` and `c[..., kh, kw]` separate for a given kw: a key is a pad where kw is, or kd, or kh.
    """
    x, y, z = real
    n = a.shape[-1]
    b_real, b_pad = b[..., :x, :].logsumexp(-2), b[..., x:, :].logsumexp(-2)  # of nothing: -inf
    c_real, c_pad = c[..., :y, :].logsumexp(-2), c[..., y:, :].logsumexp(-2)
    c_all = torch.logaddexp(c_real, c_pad)
    logits = torch.logaddexp(b_real, b_pad) + c_all
    if x == y == n:  # only kw pads
        return (a[..., z:] + logits[..., None, z:]).logsumexp(-1)
    inner = torch.logaddexp(b_pad + c_all, b_real + c_pad)
    logits = torch.cat([inner[..., :z], logits[..., z:]], dim=-1)
    return (a + logits[..., None, :]).logsumexp(-1)
