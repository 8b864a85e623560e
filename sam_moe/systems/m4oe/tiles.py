"""Where tiles lie on the slices of a scan: over what each slice shows, and nowhere else."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from monai.data.utils import compute_importance_map
from torch import Tensor

from sam_moe.shapes import Float

_OVERLAP = 0.25  # of a tile's side, at least
_SHOWN = 0.05  # of a slice's range above its least: air and padding are less
_LEAST_WEIGHT = 1e-3


class Tile(NamedTuple):
    """A square of a slice, by its slice and first pixel, which may lie before the slice's."""

    slice: int
    x: int
    y: int


def tiles_of(images: Float[Tensor, "n c x y"], edge: int) -> list[Tile]:
    """Tiles that cover what each slice shows, overlapping by a quarter of their side at least (ours).

    MONAI's sliding window has one lattice for all slices; a head on a slice that has room for shoulders takes
    one tile of its six. A slice that shows nothing has none.
    """
    low, high = images.amin((1, 2, 3)), images.amax((1, 2, 3))
    shown = images.amax(dim=1) > (low + _SHOWN * (high - low))[:, None, None]
    found = []
    for number, slice_ in enumerate(shown):
        x, y = (slice_.any(dim=axis).nonzero().flatten().tolist() for axis in (1, 0))
        if x:
            found += [
                Tile(number, first, second)
                for first in _starts(x[0], x[-1] + 1, edge)
                for second in _starts(y[0], y[-1] + 1, edge)
            ]
    return found


def _starts(start: int, stop: int, edge: int) -> Iterator[int]:
    """First pixels of as few tiles as cover `start` to `stop`, evenly spaced; one is centred."""
    room = stop - start - edge
    if room <= 0:
        yield start + room // 2
        return
    steps = -(-room // int(edge * (1 - _OVERLAP)))
    for step in range(steps + 1):
        yield start + round(step * room / steps)


def cut(images: Float[Tensor, "n c x y"], tiles: list[Tile], edge: int) -> Float[Tensor, "m c edge edge"]:
    """The tiles; outside a slice stands its least number."""
    index = torch.tensor([tile.slice for tile in tiles], dtype=torch.long, device=images.device)
    out = images.amin((1, 2, 3))[index, None, None, None].repeat(1, images.shape[1], edge, edge)
    for row, tile in enumerate(tiles):
        (there_x, here_x), (there_y, here_y) = _both(tile, images.shape, edge)
        out[row, :, here_x, here_y] = images[tile.slice, :, there_x, there_y]
    return out


class Blend:
    """Logits of tiles, blended where they overlap by a Gaussian of their side; elsewhere the background.

    Args:
        shape: slices, classes, x and y.
        edge: side of a tile.
        sure: the background's logit where no tile lies.
    """

    def __init__(self, shape: tuple[int, int, int, int], edge: int, sure: float) -> None:
        self._shape, self._edge, self._sure = shape, edge, sure
        self._sum = torch.zeros(shape)
        self._weight = torch.zeros(shape[0], 1, *shape[2:])
        self._map = compute_importance_map((edge, edge), mode="gaussian").clamp(min=_LEAST_WEIGHT)

    def add(self, tiles: list[Tile], logits: Float[Tensor, "m k edge edge"]) -> None:
        """Lay tiles on their slices."""
        for tile, answer in zip(tiles, logits.cpu(), strict=True):
            (there_x, here_x), (there_y, here_y) = _both(tile, self._shape, self._edge)
            weight = self._map[here_x, here_y]
            self._sum[tile.slice, :, there_x, there_y] += weight * answer[:, here_x, here_y]
            self._weight[tile.slice, 0, there_x, there_y] += weight

    def logits(self) -> Float[Tensor, "n k x y"]:
        """All slices' logits."""
        covered = self._weight > 0
        out = self._sum / self._weight.where(covered, torch.ones(()))
        out[:, :1].masked_fill_(~covered, self._sure)
        return out


def _both(tile: Tile, shape: tuple[int, ...], edge: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Along x and along y, a tile's pixels on its slice and in itself."""
    x, y = (
        (
            slice(max(0, first), min(length, first + edge)),
            slice(max(0, -first), min(edge, length - first)),
        )
        for first, length in zip((tile.x, tile.y), shape[2:], strict=True)
    )
    return x, y
