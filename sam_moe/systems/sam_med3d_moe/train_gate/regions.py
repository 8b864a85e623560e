"""Regions to learn routing from: experts' structures, the general expert's, and places without a label."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, log
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from sam_moe.registry import Preprocessing
from sam_moe.shapes import Bool, Float
from sam_moe.systems.sam_med3d_moe.prompted.regions import Appearance, Cut, Mix, Regions, appear
from sam_moe.training.scans.cache import Scan
from sam_moe.training.scans.crops import CropRanges, draw_crop
from sam_moe.training.scans.merging import merged_labels

# The name under which a place without a label stands among the structures.
UNLABELLED = "unlabelled place"
# Tries to find such a place, and a region that shows it.
_PATIENCE = 400
_RADII_MM = (4.0, 30.0)
_LEAST_VOXELS = 30
# A person clicks well inside: on the deepest of so many random voxels of the target (ours).
_CANDIDATES = 6


Way = Literal["click", "box"]
WAYS: tuple[Way, ...] = ("click", "box")


class Drawn(NamedTuple):
    """A region with its one target, the column that owns it, names of structure and scan, the way to ask.

    It is cut as prediction cuts for that way: around a box, or around a click, which is its middle voxel.
    """

    image: Float[Tensor, "1 s s s"]
    target: Bool[Tensor, "1 s s s"]
    owner: int
    structure: str
    case: str
    way: Way


@dataclass(frozen=True)
class Stream:
    """How regions are drawn for a table; the general expert's count for twice an expert's.

    Of those, `unlabelled_share` are places without a label, in any scan: by the scan alone the gate must not
    know which expert to choose (ours). `weights` say for each column how often its sets are
    drawn. `varied` regions are mirrored, turned and zoomed a little besides.
    """

    regions: int
    seed: int
    spoil_share: float = 0.0
    unlabelled_share: float = 0.3
    weights: tuple[Mapping[str, float], ...] = ()
    varied: bool = True


def asked_ranges(preprocessing: Preprocessing, way: Way, varied: bool) -> CropRanges:
    """Regions as prediction first looks at a click or a box (`predict/regions/where.py`)."""
    least, most = (0.85, 1.15) if varied else (1.0, 1.0)
    spacing, fill = preprocessing.click_zoom * preprocessing.spacing_mm, preprocessing.box_fill
    plain = CropRanges(
        box_share=float(way == "box"),
        box_fill=(least * fill, min(most * fill, 1.0)),
        click_spacing_mm=(least * spacing, most * spacing),
        jitter_voxels=0.0,
        candidates=_CANDIDATES,
    )
    return plain if varied else replace(plain, mirrored_share=(0.0, 0.0, 0.0), rotated_share=0.0)


def draw_regions(
    scans: Sequence[Scan],
    specialities: Sequence[Mapping[str, Sequence[str]]],
    leave_out: frozenset[str],
    preprocessing: Preprocessing,
    stream: Stream,
) -> Iterator[Drawn]:
    """Draw every task's regions, task by task, the same ones each time.

    `specialities` say for each expert, in the order of the gate's columns from 1 on, which structures are its
    own: a name, and the labels (by name or 'set/name') whose union it is. The general expert owns all other
    structures that `leave_out` does not name.
    """
    size, _, _ = preprocessing.region_shape  # a cube, as the backbone's card was checked to have
    appearance = Appearance(stream.spoil_share, preprocessing.normalisation)
    ranges = {way: asked_ranges(preprocessing, way, stream.varied) for way in WAYS}
    taken = {label for own in specialities for labels in own.values() for label in labels}
    plain = [kept for scan in scans if (kept := without(scan, taken | leave_out)).structures]
    places = round(2 * stream.regions * stream.unlabelled_share)
    tasks = [(0, plain, 2 * stream.regions - places)]
    for owner, own in enumerate(specialities, start=1):
        mine = [merged for scan in scans if (merged := merge(scan, own)).structures]
        tasks.append((owner, mine, stream.regions))
    for owner, known, count in tasks:
        for way in WAYS if known else ():
            regions = Regions(
                known,
                Cut(size, ranges[way]),
                stream.seed * 1009 + owner,
                Mix(stream.weights[owner] if stream.weights else {}),
                appearance,
            )
            for number in range(WAYS.index(way), count, len(WAYS)):
                sample, structure, case = regions.named(number)
                yield Drawn(sample["image"], sample["target"], owner, structure, case, way)
    shown = [scan for scan in scans if scan.levels]
    for number in range(places if shown else 0):
        way = WAYS[number * len(WAYS) // places]  # one after the other, so that they make batches
        rng = torch.Generator().manual_seed((stream.seed * 1009 + 997) * 1_000_003 + number)
        for _ in range(_PATIENCE):
            scan = blank_place(shown[int(torch.randint(len(shown), (), generator=rng))], rng)
            crop = None if scan is None else draw_crop(scan, 1, size, ranges[way], rng)
            if crop is not None:
                image = appear(crop.image, appearance, rng)
                yield Drawn(image, crop.targets, 0, UNLABELLED, crop.case, way)
                break


def without(scan: Scan, names: frozenset[str] | set[str]) -> Scan:
    """The scan without the structures of these names, or 'set/name'; their voxels stay labelled."""
    kept = {v: n for v, n in scan.structures.items() if not {n, f"{scan.group}/{n}"} & names}
    return replace(scan, structures=kept)


def merge(scan: Scan, own: Mapping[str, Sequence[str]]) -> Scan:
    """The scan with these structures alone, each the union of its labels."""
    labels, structures = merged_labels(scan.labels, scan.structures, scan.group, own)
    return replace(scan, labels=labels, structures=structures)


def blank_place(scan: Scan, rng: torch.Generator) -> Scan | None:
    """The scan with one structure, an ellipsoid in the body where nothing is labelled; None without luck."""
    image, spacing = scan.levels[0], torch.tensor(scan.spacings_mm[0])
    shape = torch.tensor(image.shape)
    centre = (torch.rand(3, generator=rng) * shape).long()
    i, j, k = centre.tolist()
    if scan.labels[i, j, k] != 0 or image[i, j, k] <= image.float().mean():
        return None
    low, high = (log(r) for r in _RADII_MM)
    size = exp(low + (high - low) * torch.rand((), generator=rng).item())
    radii = size * (0.6 + 0.8 * torch.rand(3, generator=rng)) / spacing  # in voxels
    start = (centre - radii).floor().long().clamp(min=0)
    stop = torch.minimum((centre + radii).ceil().long() + 1, shape)
    axes = [torch.arange(int(a), int(b)) for a, b in zip(start, stop, strict=True)]
    at = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    inside = (((at - centre) / radii) ** 2).sum(dim=-1) <= 1
    part = tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
    if int(inside.sum()) < _LEAST_VOXELS or bool((scan.labels[part][inside] != 0).any()):
        return None
    labels = torch.zeros_like(scan.labels)
    labels[part][inside] = 1
    return replace(scan, labels=labels, structures={1: UNLABELLED})
