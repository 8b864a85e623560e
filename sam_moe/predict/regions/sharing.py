"""Several targets on one encoding: which of the regions that they need may serve others, too (ours)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sam_moe.space.grid import Grid


@dataclass(frozen=True)
class Sharing:
    """How much a region may differ from the one that a target needs.

    `zoom` is the largest ratio of their spacings, `shift` the farthest that their centres lie apart along an
    axis, as a share of the edge of the one that is wanted.
    """

    zoom: float
    shift: float

    def serves(self, region: Grid, wanted: Grid) -> bool:
        """Whether a region may stand in for the one that is wanted."""
        ratio = region.spacing_mm[0] / wanted.spacing_mm[0]
        apart = _centre(region) - _centre(wanted)
        near = np.abs(apart).max() <= self.shift * wanted.extent_mm[0] + 1e-6
        return bool(near and 1 / self.zoom - 1e-6 <= ratio <= self.zoom + 1e-6)

    def share(self, wanted: Sequence[Grid]) -> list[Grid]:
        """For each region that is wanted one of them that serves it; as few as a greedy choice finds.

        The region that serves most is taken first, then the one that serves most of the rest; of equals the
        first. A region always serves itself, so that without neighbours nothing changes.
        """
        serves = np.array([[self.serves(region, each) for each in wanted] for region in wanted])
        found: dict[int, Grid] = {}
        while len(found) < len(wanted):
            best = int(serves.sum(axis=1).argmax())
            for number in np.flatnonzero(serves[best]).tolist():
                found[number] = wanted[best]
                serves[:, number] = False
        return [found[number] for number in range(len(wanted))]


def _centre(region: Grid) -> np.ndarray:
    return region.world_of([n // 2 for n in region.shape])
