"""Slices of any size through the network: padded where it takes any, in tiles where it takes one size."""

from collections.abc import Mapping, Sequence

import torch
from monai.inferers.utils import sliding_window_inference
from torch import Tensor

from sam_moe.hosts.conv_unet.sizes import ConvSizes
from sam_moe.moe.routing import Routing
from sam_moe.moe.selection import Selection, SelectionRule
from sam_moe.registry import HostSizes
from sam_moe.shapes import Float
from sam_moe.slices.stack import padded
from sam_moe.systems.m4oe.model import M4oE, Slices

_PIXELS = 16 * 128 * 128  # in one pass, so that maps stay in the cache of a processor
_OVERLAP = 0.25
_ALL = 2**31  # tiles at once


@torch.no_grad()
def answer(
    model: M4oE, images: Float[Tensor, "n c x y"], head: int, rule: SelectionRule | None = None
) -> tuple[Float[Tensor, "n k x y"], Mapping[str, Routing]]:
    """Logits of one head on slices of one scan, and how each place routed each slice.

    Where a slice is answered in several tiles, or by token, its routing is their mean. No answer depends on
    which slices are asked together, unless gates see a scan as a whole: then give it as a whole.
    """
    sizes: HostSizes = model.host.sizes
    x, y = images.shape[2:]
    if isinstance(sizes, ConvSizes):
        full = padded(images, sizes.multiple)
        logits, found = _passes(model, full, head, rule)
        return logits[:, :, :x, :y], found
    edge = sizes.image_size
    parts: list[Mapping[str, Routing]] = []

    def ask(tiles: Tensor) -> Tensor:
        logits, found = _passes(model, tiles, head, rule)
        parts.append(found)
        return logits

    full = padded(images, 1, shortest=edge)
    many = _ALL if model.mixture.pooling == "volume" else len(full)
    found_logits = sliding_window_inference(full, (edge, edge), many, ask, _OVERLAP, mode="gaussian")
    assert isinstance(found_logits, Tensor)
    return found_logits[:, :, :x, :y], _joined(parts, len(images))


def _passes(
    model: M4oE, images: Float[Tensor, "n c x y"], head: int, rule: SelectionRule | None
) -> tuple[Float[Tensor, "n k x y"], Mapping[str, Routing]]:
    whole = model.mixture.pooling == "volume"
    many = len(images) if whole else max(1, _PIXELS // (images.shape[2] * images.shape[3]))
    answers, parts = [], []
    for rows in images.split(many):
        heads = torch.full((len(rows),), head, device=rows.device)
        logits, found = model(Slices(rows, heads, torch.zeros_like(heads)), rule)
        answers.append(logits)
        parts.append({name: by_row(routing) for name, routing in found.items()})
    return torch.cat(answers), _concatenated(parts)


def by_row(routing: Routing) -> Routing:
    """A routing of rows by themselves: that of tokens as the mean over each row's tokens."""
    logits, weights = routing.logits, routing.weights
    if logits.ndim > 2:
        logits, weights = (part.flatten(1, -2).mean(dim=1) for part in (logits, weights))
    return _of_all(routing, logits, weights)


def _of_all(like: Routing, logits: Float[Tensor, "n e"], weights: Float[Tensor, "n e"]) -> Routing:
    every = torch.arange(logits.shape[1], device=logits.device).expand(logits.shape)
    none = torch.zeros(len(logits), dtype=torch.bool, device=logits.device)
    return Routing(like.ids, logits, Selection(every, weights, none), like.rule)


def _concatenated(parts: Sequence[Mapping[str, Routing]]) -> dict[str, Routing]:
    return {
        name: _of_all(
            first,
            torch.cat([part[name].logits for part in parts]),
            torch.cat([part[name].weights for part in parts]),
        )
        for name, first in parts[0].items()
    }


def _joined(parts: Sequence[Mapping[str, Routing]], slices: int) -> dict[str, Routing]:
    """Routings of tiles, all of a slice one after the other, as those of slices."""
    return {
        name: _of_all(
            routing,
            routing.logits.unflatten(0, (slices, -1)).mean(dim=1),
            routing.weights.unflatten(0, (slices, -1)).mean(dim=1),
        )
        for name, routing in _concatenated(parts).items()
    }
