"""From prepared slices to labels on the scan's own voxels: probabilities go home, masks do not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sam_moe.moe.routing import Routing
from sam_moe.predict.automatic.asking import Automatic
from sam_moe.progress import Progress, silent
from sam_moe.registry import Label
from sam_moe.shapes import Float, UInt8
from sam_moe.slices.stack import Stack, neighbours
from sam_moe.space.connected import largest_part
from sam_moe.space.extents import extent, part_of, union
from sam_moe.space.grid import Grid
from sam_moe.space.sampling import IndexBox
from sam_moe.space.volume import Volume, resample_seen

# Rounding of interpolated probabilities, by which the least that can win is lowered.
_ROUNDING = 1e-4


@dataclass(frozen=True, eq=False)
class Answers:
    """Probabilities of every class on a stack's voxels, background first, and each place's expert shares."""

    probabilities: Float[Tensor, "c z x y"]
    grid: Grid
    shares: Mapping[str, Mapping[str, float]]

    def of(self, number: int) -> Volume:
        """One class's."""
        return Volume(self.probabilities[number].permute(1, 2, 0), self.grid)


@torch.no_grad()
def answers(
    network: Automatic,
    stack: Stack,
    data_set: int,
    chunk_pixels: int | None = None,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> Answers:
    """Ask the network for every slice of a stack; the classes' softmax is kept on the CPU.

    `chunk_pixels` bounds what it is given at once, but for one slice; None gives it all slices at once.
    """
    x, y, count = stack.array.shape
    step = count if chunk_pixels is None else max(1, chunk_pixels // (x * y))
    classes = 1 + len(network.sets[data_set].labels)
    kept = torch.empty((classes, count, x, y))
    places: dict[str, _Shares] = {}
    progress("segmenting", 0.0)
    for start in range(0, count, step):
        chunk = torch.arange(start, min(count, start + step))
        logits, routings = network.answer(neighbours(stack.array, chunk).to(device), data_set)
        assert logits.shape == (len(chunk), classes, x, y), f"logits of shape {tuple(logits.shape)}"
        kept[:, start : start + step] = logits.float().softmax(dim=1).transpose(0, 1)
        for place, routing in routings.items():
            places[place] = places.get(place, _Shares()).with_more(routing, len(chunk))
        progress("segmenting", (start + len(chunk)) / count)
    return Answers(kept, stack.grid, {place: shares.mean() for place, shares in places.items()})


def restored(found: Answers, labels: Sequence[Label], onto: Grid) -> UInt8[Tensor, "i j k"]:
    """The most probable class at each voxel of the scan's grid: 0 for background, n for the n-th label.

    Equal to the argmax over all classes' `resample`, at the cost of the structures alone: a class that wins
    somewhere has there at least its share of a vote among all, so only boxes around such voxels are looked
    at (ours). Of a label that keeps its largest part, the rest becomes background. Laid out as in files, i
    fastest; uint8.
    """
    out = torch.zeros(onto.shape[::-1], dtype=torch.uint8).permute(2, 1, 0)
    least = 1 / len(found.probabilities) - _ROUNDING
    boxes = {
        number: box
        for number in range(1, len(found.probabilities))
        if (box := extent(found.of(number).array >= least)) is not None
    }
    if not boxes:
        return out
    best, whole = _seen(found, 0, union(list(boxes.values())), onto)
    values = torch.zeros(best.shape, dtype=torch.uint8)
    for number, box in boxes.items():
        probability, where = _seen(found, number, box, onto)
        part = tuple(slice(w.start - o.start, w.stop - o.start) for w, o in zip(where, whole, strict=True))
        held, value = best[part], values[part]
        wins = probability > held
        value.masked_fill_(wins, number)
        torch.maximum(held, probability, out=held)
    del best
    for number in boxes:
        if labels[number - 1].parts == "largest":
            _keep_largest(values, number)
    target = out[whole]
    for j in range(values.shape[1]):  # all at once, turning the axes would take three times as long
        target[:, j].copy_(values[:, j])
    return out


def _seen(
    found: Answers, number: int, box: IndexBox, onto: Grid
) -> tuple[Float[Tensor, "i j k"], tuple[slice, ...]]:
    """A class's probability around a box of the stack, and where that is in the scan."""
    return resample_seen(found.of(number), onto, within=(part_of(found.grid, box, margin=1),))


def _keep_largest(values: UInt8[Tensor, "i j k"], number: int) -> None:
    """Make all but the largest connected part of a label background; corners connect."""
    box = extent(values == number)
    if box is None:
        return
    part = values[box.slices]
    mask = part == number
    mask &= ~largest_part(mask)
    part.masked_fill_(mask, 0)


@dataclass(frozen=True)
class _Shares:
    """The weights of experts at one place, summed over slices; `slices` are those that experts answered."""

    ids: tuple[str, ...] = ()
    total: tuple[float, ...] = ()
    slices: float = 0.0

    def with_more(self, routing: Routing, slices: int) -> "_Shares":
        """With the routing of so many more slices, of whatever rows; weights of 0 are no expert's answer."""
        weights = routing.weights.flatten(0, -2).cpu().double()
        more = weights.mean(dim=0) * slices
        before = torch.tensor(self.total, dtype=torch.float64) if self.ids else torch.zeros_like(more)
        answered = slices * float(weights.any(dim=1).double().mean())
        return _Shares(routing.ids, tuple((before + more).tolist()), self.slices + answered)

    def mean(self) -> dict[str, float]:
        """The mean weight of each expert, heaviest first; 0 where none answered any slice."""
        shares = {id: total / (self.slices or 1) for id, total in zip(self.ids, self.total, strict=True)}
        return dict(sorted(shares.items(), key=lambda item: -item[1]))
