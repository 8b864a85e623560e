"""An endless stream of regions: cut from scans or painted as phantoms, spoiled as scanners do, normalised."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.utils.data import Dataset

from sam_moe.errors import SamMoeError
from sam_moe.hosts.sam3d.normalise import Normalisation, normalise
from sam_moe.training.scans.cache import Scan
from sam_moe.training.scans.crops import RANGES, Crop, CropRanges, draw_crop
from sam_moe.training.scans.phantoms import draw_phantom, spoil

# Draws in a row that gave no region; more mean that the scans hold next to nothing to learn.
_PATIENCE = 1000


@dataclass(frozen=True)
class Cut:
    """How regions are cut: the edge in voxels, where and how large, and how many targets each has."""

    size: int
    ranges: CropRanges = RANGES
    targets: int = 1


@dataclass(frozen=True)
class Mix:
    """What regions are drawn from.

    Args:
        weights: how often each set is drawn, relative to the others; 1 for a set that is not named.
        phantom_share: share of procedural phantoms; without scans all are phantoms.
        curriculum: samples at the start of which half are phantoms.
    """

    weights: Mapping[str, float] = field(default_factory=dict)
    phantom_share: float = 0.0
    curriculum: int = 0


@dataclass(frozen=True)
class Appearance:
    """What becomes of a region's intensities: the share with a scanner's faults, and the normalisation."""

    spoil_share: float = 1.0
    normalisation: Normalisation = "mean"


# Every set alike and no phantoms; all regions with faults.
SCANS = Mix()
SPOILED = Appearance()


class Regions(Dataset[dict[str, Tensor]]):
    """A repeatable stream of regions: number n is the same on every machine and after every resume.

    A set is drawn by its weight, then a scan, then a structure, so that a rare structure is not drowned.
    `image` is (1, size, size, size), `target` (targets, size, size, size).
    """

    def __init__(
        self,
        scans: Sequence[Scan],
        cut: Cut,
        seed: int,
        mix: Mix = SCANS,
        appearance: Appearance = SPOILED,
        length: int = 10**9,
    ) -> None:
        self.cut, self.seed, self.mix, self.appearance, self.length = cut, seed, mix, appearance, length
        self.by_set: dict[str, list[Scan]] = {}
        for scan in scans:
            self.by_set.setdefault(scan.group, []).append(scan)
        self.names = sorted(self.by_set)
        self.weights = torch.tensor([mix.weights.get(n, 1.0) for n in self.names])

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        return self.named(number)[0]

    def named(self, number: int) -> tuple[dict[str, Tensor], str, str]:
        """A sample, the name of the structure that its region was cut for, and the scan's.

        Raises:
            SamMoeError: where the structures are too small to be seen in any region.
        """
        rng = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        share = 0.5 if number < self.mix.curriculum else self.mix.phantom_share
        for _ in range(_PATIENCE):
            if (crop := self._draw(share, rng)) is not None:
                break
        else:
            raise SamMoeError(
                f"{_PATIENCE} draws gave no region for sample {number}. The structures are too small to be "
                "seen; leave them out, or add scans or phantoms."
            )
        image = appear(crop.image, self.appearance, rng)
        return {"image": image, "target": crop.targets}, crop.structure, crop.case

    def _draw(self, share: float, rng: torch.Generator) -> Crop | None:
        if not self.names or torch.rand((), generator=rng) < share:
            return draw_phantom(self.cut.size, rng, self.cut.targets)
        name = self.names[int(torch.multinomial(self.weights, 1, generator=rng))]
        scan = self.by_set[name][int(torch.randint(len(self.by_set[name]), (), generator=rng))]
        structures = sorted(scan.structures)
        label = structures[int(torch.randint(len(structures), (), generator=rng))]
        return draw_crop(scan, label, self.cut.size, self.cut.ranges, rng, self.cut.targets)


def appear(image: Tensor, appearance: Appearance, rng: torch.Generator) -> Tensor:
    """A region's intensities as a model sees them, with one channel."""
    spoiled = torch.rand((), generator=rng) < appearance.spoil_share
    return normalise(spoil(image, rng) if spoiled else image, appearance.normalisation)[None]
