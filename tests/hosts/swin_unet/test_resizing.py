"""Which token goes where when patches are cut, merged and expanded."""

import pytest
import torch

from sam_moe.hosts.swin_unet.resizing import PatchEmbedding, PatchExpand, PatchMerging

EPS = 1e-5


def normalised(x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.layer_norm(x, x.shape[-1:], eps=EPS)


@torch.no_grad()
def test_patches_come_in_the_order_of_rows():
    embed = PatchEmbedding(1, 4, 2, EPS).double()
    images = torch.randn(2, 1, 6, 6, dtype=torch.float64)
    tokens = embed(images)
    assert tokens.shape == (2, 9, 4)
    for place in range(9):
        row, column = 2 * (place // 3), 2 * (place % 3)
        patch = images[:, 0, row : row + 2, column : column + 2].flatten(1)
        linear = patch @ embed.proj.weight.view(4, 4).T + embed.proj.bias
        torch.testing.assert_close(tokens[:, place], normalised(linear))


@torch.no_grad()
def test_merging_takes_four_neighbours_column_by_column():
    merging = PatchMerging(3, 4, EPS).double()
    x = torch.randn(2, 16, 3, dtype=torch.float64)
    square = x.view(2, 4, 4, 3)
    merged = merging(x)
    assert merged.shape == (2, 4, 6)
    for place in range(4):
        row, column = 2 * (place // 2), 2 * (place % 2)
        four = [square[:, row + down, column + right] for right in (0, 1) for down in (0, 1)]
        torch.testing.assert_close(merged[:, place], merging.reduction(normalised(torch.cat(four, -1))))


@pytest.mark.parametrize(("factor", "width"), [(2, 2), (4, 4)])
@torch.no_grad()
def test_expanding_writes_a_tokens_numbers_row_by_row(factor, width):
    expand = PatchExpand(4, 3, factor, EPS).double()
    x = torch.randn(2, 9, 4, dtype=torch.float64)
    fine = expand(x).view(2, 3 * factor, 3 * factor, width)
    for place in range(9):
        parts = expand.expand(x[:, place]).view(2, factor, factor, width)
        row, column = factor * (place // 3), factor * (place % 3)
        here = fine[:, row : row + factor, column : column + factor]
        torch.testing.assert_close(here, normalised(parts))
