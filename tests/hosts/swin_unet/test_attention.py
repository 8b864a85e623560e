"""Windowed attention against its definition, pair by pair, and against MONAI's where the two agree."""

import pytest
import torch
from monai.networks.nets.swin_unetr import WindowAttention

from sam_moe.hosts.swin_unet.attention import (
    ShiftedWindowAttention,
    Windows,
    relative_positions,
    separation,
)


def attention(width: int, heads: int, windows: Windows) -> ShiftedWindowAttention:
    torch.manual_seed(windows.tokens)
    module = ShiftedWindowAttention(width, heads, windows).double()
    torch.nn.init.normal_(module.relative_position_bias_table)
    return module


def pair_by_pair(module: ShiftedWindowAttention, x: torch.Tensor) -> torch.Tensor:
    """The definition: each token attends to the tokens of its window, and of no other end of the square."""
    tokens, edge, shift = module.windows
    batch, _, width = x.shape
    q, k, v = module.qkv(x).view(batch, tokens, tokens, 3, module.heads, -1).unbind(3)
    answer = torch.empty(batch, tokens, tokens, width, dtype=x.dtype)
    places = [(row, column) for row in range(tokens) for column in range(tokens)]

    def window(place):  # a shift moves windows up and left: the last tokens are alone at the far ends
        return tuple((axis - shift) // edge for axis in place)

    for here in places:
        keys = [there for there in places if window(there) == window(here)]
        offset = [(here[0] - r + edge - 1) * (2 * edge - 1) + here[1] - c + edge - 1 for r, c in keys]
        bias = module.relative_position_bias_table[offset]
        rows, columns = (list(axis) for axis in zip(*keys, strict=True))
        scores = torch.einsum("bhc,bkhc->bkh", q[:, *here], k[:, rows, columns]) * module.scale + bias
        answer[:, *here] = torch.einsum("bkh,bkhc->bhc", scores.softmax(1), v[:, rows, columns]).flatten(1)
    return module.proj(answer.flatten(1, 2))


@pytest.mark.parametrize(
    "windows",
    [Windows(4, 2), Windows(4, 2, 1), Windows(6, 3, 1), Windows(8, 4, 2), Windows(4, 4), Windows(1, 1)],
    ids=str,
)
@torch.no_grad()
def test_each_token_attends_to_its_window_alone(windows):
    module = attention(6, 3, windows)
    x = torch.randn(2, windows.tokens**2, 6, dtype=torch.float64)
    torch.testing.assert_close(module(x), pair_by_pair(module, x), rtol=0, atol=1e-12)


@torch.no_grad()
def test_a_stage_of_one_shifted_window_has_four_parts():
    module = attention(4, 1, Windows(4, 4, 2))
    x = torch.randn(1, 16, 4, dtype=torch.float64)
    changed = x.clone()
    changed[:, 0] += 1  # above left
    moved = (module(changed) - module(x)).abs().amax(-1).view(4, 4) > 1e-9
    assert moved[:2, :2].all()
    assert moved.sum() == 4


@torch.no_grad()
def test_without_a_shift_it_is_monais():
    """MONAI's indexes its table as ours does where the window is the configured one."""
    ours = attention(8, 2, Windows(4, 4)).float()
    theirs = WindowAttention(8, 2, (4, 4), qkv_bias=True)
    theirs.load_state_dict(ours.state_dict(), strict=False)
    assert torch.equal(theirs.relative_position_index, ours.relative_position_index.view(16, 16))
    x = torch.randn(3, 16, 8)
    torch.testing.assert_close(ours(x), theirs(x, None), rtol=0, atol=1e-6)


def test_relative_positions_count_from_the_far_corner():
    index = relative_positions(3)
    assert index[0, 0] == index[4, 4] == 12  # no offset: the middle of 5 × 5
    assert index[0, 8] == 0  # the key two down and two to the right
    assert index[8, 0] == 24
    assert index.unique().numel() == 25


def test_a_shifted_square_of_two_windows_a_side_is_apart_at_its_ends():
    apart = separation(Windows(4, 2, 1)).view(2, 2, 4, 4)
    assert apart.unique().tolist() == [-100, 0]
    assert not apart[0, 0].any()
    assert (
        apart[0, 1].tolist()
        == apart[0, 1].T.tolist()
        == [
            [0, -100, 0, -100],
            [-100, 0, -100, 0],
            [0, -100, 0, -100],
            [-100, 0, -100, 0],
        ]
    )
    assert (apart[1, 1] == 0).sum() == 4


def test_masks_and_indices_are_not_stored():
    names = set(attention(4, 1, Windows(4, 2, 1)).state_dict())
    assert names == {
        "relative_position_bias_table",
        *(f"{part}.{kind}" for part in ("qkv", "proj") for kind in ("weight", "bias")),
    }


def test_a_single_number_of_the_table_is_learnt_from():
    module = attention(4, 2, Windows(4, 2, 1))
    module(torch.randn(1, 16, 4, dtype=torch.float64)).square().sum().backward()
    assert module.relative_position_bias_table.grad.abs().amin(0).gt(0).all()
