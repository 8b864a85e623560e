"""Slices of any size through the network, in tiles of the size that it learnt from."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sam_moe.moe.routing import Routing
from sam_moe.moe.selection import Selection, SelectionRule
from sam_moe.moe.site import MoESite
from sam_moe.registry import HostSizes
from sam_moe.shapes import Float
from sam_moe.systems.m4oe.model import M4oE, Slices
from sam_moe.systems.m4oe.tiles import Blend, Tile, cut, tiles_of

_PIXELS = 2**18  # in one pass, so that maps stay in a processor's cache
_SURE = 20.0  # the logit of the background where a slice shows nothing


@torch.no_grad()
def answer(
    model: M4oE, images: Float[Tensor, "n c x y"], head: int, rule: SelectionRule | None = None
) -> tuple[Float[Tensor, "n k x y"], Mapping[str, Routing]]:
    """Logits of one head on all slices of a scan, and how each place routed each slice.

    Tiles are as large as those that the network learnt from, for its norms' statistics are those of a tile:
    answered whole, larger slices lost 0.04 to 0.08 Dice (`benchmarks/LOG.md`). Where no tile lies
    is background. A slice's routing is the mean over its tiles and, where tokens are routed, over them; of a
    slice that shows nothing all numbers are 0.

    Args:
        model: the network.
        images: slices of one scan with their neighbours.
        head: number of the data set whose head answers.
        rule: selects at every place instead of its own.
    """
    sizes: HostSizes = model.host.sizes
    edge, (count, _, x, y) = sizes.image_size, images.shape
    tiles = tiles_of(images, edge)
    blend = Blend((count, sizes.classes[head], x, y), edge, _SURE)
    parts: list[dict[str, Routing]] = []
    # All at once for gates that see a whole scan
    many = len(tiles) if model.mixture.pooling == "volume" else max(1, _PIXELS // edge**2)
    for first in range(0, len(tiles), max(1, many)):
        some = tiles[first : first + many]
        heads = torch.full((len(some),), head, device=images.device)
        batch = Slices(cut(images, some, edge), heads, torch.zeros_like(heads))
        logits, found = model(batch, rule)
        blend.add(some, logits)
        parts.append({name: by_row(routing) for name, routing in found.items()})
    if not parts:
        parts.append({name: _of_nothing(site) for name, site in model.sites().items()})
    return blend.logits(), _of_slices(parts, tiles, count)


def by_row(routing: Routing) -> Routing:
    """A routing of rows by themselves: that of tokens as the mean over each row's tokens."""
    logits, weights = routing.logits, routing.weights
    if logits.ndim > 2:
        logits, weights = (part.flatten(1, -2).mean(dim=1) for part in (logits, weights))
    return _of_all(routing, logits, weights)


def _of_nothing(site: MoESite) -> Routing:
    none = torch.zeros(0, len(site.ids))
    return Routing(site.ids, none, site.rule.select(none), site.rule)


def _of_all(like: Routing, logits: Float[Tensor, "n e"], weights: Float[Tensor, "n e"]) -> Routing:
    every = torch.arange(logits.shape[1], device=logits.device).expand(logits.shape)
    none = torch.zeros(len(logits), dtype=torch.bool, device=logits.device)
    return Routing(like.ids, logits, Selection(every, weights, none), like.rule)


def _of_slices(
    parts: Sequence[Mapping[str, Routing]], tiles: Sequence[Tile], slices: int
) -> dict[str, Routing]:
    """Routings of tiles as those of slices, the mean over each one's."""
    index = torch.tensor([tile.slice for tile in tiles], dtype=torch.long)
    counts = torch.bincount(index, minlength=slices).clamp(min=1)[:, None]

    def mean(rows: Sequence[Tensor]) -> Tensor:
        together = torch.cat(list(rows)).cpu()
        return torch.zeros(slices, together.shape[1]).index_add(0, index, together) / counts

    return {
        name: _of_all(
            first,
            mean([part[name].logits for part in parts]),
            mean([part[name].weights for part in parts]),
        )
        for name, first in parts[0].items()
    }
