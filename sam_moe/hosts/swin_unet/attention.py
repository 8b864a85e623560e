"""Attention within windows of a square of tokens, shifted by half a window in every second block."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from sam_moe.shapes import Float, Int

_STD = 0.02  # of fresh tables of relative positions, as in Swin (arXiv 2103.14030)
_APART = -100.0  # what the public weights were trained with, where the paper's formula has minus infinity


class Windows(NamedTuple):
    """How a square of `tokens` a side is cut into windows of `edge` a side, moved by `shift` tokens.

    A shift rolls the square, so that windows at its far ends hold tokens of both ends; those do not attend to
    each other.
    """

    tokens: int
    edge: int
    shift: int = 0

    @property
    def across(self) -> int:
        """Windows along a side."""
        return self.tokens // self.edge


class ShiftedWindowAttention(nn.Module):
    """Multi-head attention among the tokens of a window, with a learnt bias for each relative position.

    Swin (Liu et al., arXiv 2103.14030), section 3.2. The table of biases has `(2 edge - 1)^2` rows of the
    window as it is, not of the one in the settings: the public weights are so. Tokens apart get -100, not
    minus infinity (`attn_mask` of the public state dict; computed here, as is `relative_position_index`).
    """

    relative_position_index: Tensor
    attn_mask: Tensor | None

    def __init__(self, width: int, heads: int, windows: Windows) -> None:
        super().__init__()
        assert width % heads == 0, (width, heads)
        assert windows.tokens % windows.edge == 0, windows
        self.heads = heads
        self.windows = windows
        self.scale = (width // heads) ** -0.5
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * windows.edge - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=_STD)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.register_buffer(
            "relative_position_index", relative_positions(windows.edge).flatten(), persistent=False
        )
        self.register_buffer("attn_mask", separation(windows) if windows.shift else None, persistent=False)

    def forward(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        """Attend window by window; tokens are in the order of rows."""
        batch, count, width = x.shape
        tokens, edge, shift = self.windows
        across = self.windows.across
        x = x.view(batch, tokens, tokens, width)
        if shift:
            x = x.roll((-shift, -shift), (1, 2))
        each = width // self.heads
        qkv = self.qkv(x).view(batch, across, edge, across, edge, 3, self.heads, each)
        qkv = qkv.permute(5, 0, 1, 3, 6, 2, 4, 7)
        q, k, v = qkv.reshape(3, batch, across * across, self.heads, edge * edge, each).unbind(0)
        scores = (q * self.scale) @ k.transpose(-2, -1) + self.bias()
        answer = scores.softmax(dim=-1) @ v
        answer = answer.view(batch, across, across, self.heads, edge, edge, each).permute(0, 1, 4, 2, 5, 3, 6)
        answer = answer.reshape(batch, tokens, tokens, width)
        if shift:
            answer = answer.roll((shift, shift), (1, 2))
        return self.proj(answer.view(batch, count, width))  # type: ignore[no-any-return]

    def bias(self) -> Float[Tensor, "windows h q k"]:
        """What is added to the scores; one for all windows, or, shifted, one each."""
        area = self.windows.edge**2
        bias = self.relative_position_bias_table.index_select(0, self.relative_position_index)
        bias = bias.view(area, area, self.heads).permute(2, 0, 1)[None]
        return bias if self.attn_mask is None else bias + self.attn_mask[:, None]


def relative_positions(edge: int) -> Int[Tensor, "q k"]:
    """The row of the table for each query and key of a window, both in the order of rows.

    >>> relative_positions(2).tolist()
    [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]
    """
    row, column = (axis.flatten() for axis in torch.meshgrid(*[torch.arange(edge)] * 2, indexing="ij"))
    down = row[:, None] - row[None] + edge - 1
    right = column[:, None] - column[None] + edge - 1
    return down * (2 * edge - 1) + right


def separation(windows: Windows) -> Float[Tensor, "windows q k"]:
    """-100 where a query and a key of a shifted window come from opposite ends of the square, otherwise 0."""
    tokens, edge, shift = windows
    place = torch.arange(tokens)
    end = (place >= tokens - edge).long() + (place >= tokens - shift).long()
    region = 3 * end[:, None] + end[None]
    region = region.view(windows.across, edge, windows.across, edge).transpose(1, 2).flatten(2).flatten(0, 1)
    return torch.zeros(()).where(region[:, :, None] == region[:, None], _APART)
