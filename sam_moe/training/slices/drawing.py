"""Tiles of axial slices by number: sample n is the same on every machine and after every resume."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from sam_moe.errors import ConfigError
from sam_moe.shapes import Float, Shaped
from sam_moe.slices.stack import neighbours
from sam_moe.training.slices.augmenting import Augmenter, Range
from sam_moe.training.slices.cache import KeptCase, SliceCache
from sam_moe.training.slices.settings import Drawing

_MARGIN = 8  # of a tile's side: a drawn structure's voxel is at least this part of it away from its border


class TilePlace(NamedTuple):
    """Where a tile lies: case and slice, the pixel of the slice that stays put, and the tile's first one."""

    case: int
    slice: int
    pivot: tuple[float, float]
    start: tuple[int, int]


class DrawnSlices(Dataset[dict[str, Tensor]]):
    """Tiles with their neighbours below and above as channels; number n hangs on the seed and n alone (ours).

    A data set is drawn by its weight; then mostly one of its labels, each alike, a scan and a slice that show
    it, each alike, and a tile around one of its voxels; else any scan, slice and place. A tile lies within
    the slice along an axis where that is longer, and holds all of it where it is shorter; outside stands the
    scan's least. Turned and zoomed tiles keep the drawn voxel where it is.

    A sample: `image` float32 [3,t,t]; `target` int64 [t,t], 0 for the background, n for the n-th label of its
    data set; `contoured` bool [c], c one more than the most labels of any data set; `set`, `scan` int64, the
    places of the data set and of the case.

    Raises:
        ConfigError: for weights of unknown data sets or all 0, a data set without cases, or a label that no
            case shows.
    """

    def __init__(self, cache: SliceCache, drawing: Drawing, seed: int, length: int = 10**9) -> None:
        self.cache, self.drawing, self.seed, self.length = cache, drawing, seed, length
        self.classes = 1 + max(len(each.labels) for each in cache.sets)
        self.weights = _weights(cache, drawing)
        self.of_set = [
            [n for n, case in enumerate(cache.cases) if case.set == number]
            for number in range(len(cache.sets))
        ]
        self.showing = [_showing(cache, number) for number in range(len(cache.sets))]
        self.augmenter = Augmenter(drawing.augmentation) if drawing.augmentation.on else None

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        rng = np.random.RandomState(np.random.MT19937(np.random.SeedSequence((self.seed % 2**64, number))))
        place = self.draw(rng)
        case = self.cache.cases[place.case]
        image, target = self._cut(place, case, rng)
        contoured = torch.zeros(self.classes, dtype=torch.bool)
        contoured[: len(case.contoured)] = torch.tensor(case.contoured)
        return {
            "image": image,
            "target": target,
            "contoured": contoured,
            "set": torch.tensor(case.set),
            "scan": torch.tensor(place.case),
        }

    def draw(self, rng: np.random.RandomState) -> TilePlace:
        """Which case, slice and place a sample is of."""
        chosen = int(np.searchsorted(self.weights, rng.random_sample() * self.weights[-1], side="right"))
        if rng.random_sample() >= self.drawing.organ_share:
            number = _one_of(self.of_set[chosen], rng)
            x, y, z = self.cache.voxels(number)[1].shape
            start = (self._start(None, x, rng), self._start(None, y, rng))
            middle = (self.drawing.tile - 1) / 2
            return TilePlace(number, rng.randint(z), (start[0] + middle, start[1] + middle), start)
        label = rng.randint(len(self.showing[chosen]))
        number = _one_of(self.showing[chosen][label], rng)
        at = _one_of(self.cache.cases[number].shown[label], rng)
        labels = self.cache.voxels(number)[1]
        voxels = (labels[:, :, at] == label + 1).nonzero()
        u, v = voxels[rng.randint(len(voxels))].tolist()
        x, y, _ = labels.shape
        return TilePlace(number, at, (float(u), float(v)), (self._start(u, x, rng), self._start(v, y, rng)))

    def _start(self, pixel: int | None, length: int, rng: np.random.RandomState) -> int:
        """Where a tile begins along an axis: anywhere, or where a pixel stays away from its border."""
        tile = self.drawing.tile
        first, last = min(0, length - tile), max(0, length - tile)
        if pixel is not None:
            margin = tile // _MARGIN
            low, high = pixel - tile + 1 + margin, pixel - margin
            first, last = max(first, min(low, last)), min(last, max(high, first))
        return int(rng.randint(first, last + 1))

    def _cut(
        self, place: TilePlace, case: KeptCase, rng: np.random.RandomState
    ) -> tuple[Float[Tensor, "3 t t"], Shaped[Tensor, "t t"]]:
        image, labels = self.cache.voxels(place.case)
        slices = neighbours(image, torch.tensor([place.slice]))[0].float() - case.least
        drawn = labels[:, :, place.slice]
        if self.augmenter is None:
            tile, target = (_plain(array, place, self.drawing.tile) for array in (slices, drawn[None]))
            return tile + case.least, target[0].long()
        x, y = case.affine[0][0], case.affine[1][1]
        matrix = self.augmenter.place(rng, (x, y))
        if matrix is None:
            tile, target = (_plain(array, place, self.drawing.tile) for array in (slices, drawn[None]))
            inside = _plain(torch.ones_like(drawn[None]), place, self.drawing.tile)[0].bool()
        else:
            grid = _lattice(matrix, place, drawn.shape, self.drawing.tile)
            tile = F.grid_sample(slices[None], grid, align_corners=False)[0]
            target = F.grid_sample(drawn[None, None].float(), grid, mode="nearest", align_corners=False)[0]
            inside = (grid[0].abs() <= 1).all(dim=-1)
        values = Range(case.least, case.most, case.spread)
        tile = self.augmenter.disturb(tile + case.least, values, rng)
        return tile.where(inside, torch.tensor(case.least)), target[0].long()


def _plain(array: Shaped[Tensor, "c x y"], place: TilePlace, tile: int) -> Shaped[Tensor, "c t t"]:
    """A tile as it lies on the slice, zeros outside."""
    out = array.new_zeros(array.shape[0], tile, tile)
    taken, put = [], []
    for first, length in zip(place.start, array.shape[1:], strict=True):
        low, high = max(0, first), min(length, first + tile)
        taken.append(slice(low, high))
        put.append(slice(low - first, high - first))
    out[:, put[0], put[1]] = array[:, taken[0], taken[1]]
    return out


def _lattice(
    matrix: Float[Tensor, "2 2"], place: TilePlace, shape: tuple[int, ...], tile: int
) -> Float[Tensor, "1 t t 2"]:
    """Where a turned tile's pixels lie on the slice, as grid_sample counts: (y, x), from -1 to 1."""
    pivot, start = torch.tensor(place.pivot), torch.tensor(place.start, dtype=torch.float32)
    length = torch.tensor(shape)
    # index = pivot + matrix @ (start + t - pivot); share = (2 index + 1) / length - 1
    first = pivot + matrix @ (start - pivot)
    line = torch.arange(tile, dtype=torch.float32)
    index = first + line[:, None, None] * matrix[:, 0] + line[None, :, None] * matrix[:, 1]
    return ((2 * index + 1) / length - 1).flip(-1)[None]


def _weights(cache: SliceCache, drawing: Drawing) -> Float[np.ndarray, " s"]:
    """The sums of the data sets' weights."""
    names = [each.id for each in cache.sets]
    if unknown := sorted(drawing.weights.keys() - set(names)):
        raise ConfigError(f"weights: {unknown[0]!r} is no data set. Expected one of: {', '.join(names)}.")
    weights = np.array([drawing.weights.get(name, 1.0) for name in names])
    if not weights.any():
        raise ConfigError("weights: all are 0. Expected at least one data set to be drawn.")
    return np.cumsum(weights)


def _showing(cache: SliceCache, number: int) -> list[list[int]]:
    """For each label of a data set the cases that show it.

    Raises:
        ConfigError: for a label that none shows.
    """
    found = []
    for label, about in enumerate(cache.sets[number].labels):
        showing = [n for n, case in enumerate(cache.cases) if case.set == number and case.shown[label]]
        if not showing:
            raise ConfigError(
                f"{cache.sets[number].id}: no case to learn from shows {about.name}. Expected at least one; "
                "add cases, or leave the label out of the data set."
            )
        found.append(showing)
    return found


def _one_of(things: "list[int] | tuple[int, ...]", rng: np.random.RandomState) -> int:
    return things[rng.randint(len(things))]
