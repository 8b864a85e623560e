"""Regions cut from scans as training sees them: any place, zoom, turn and mirroring, in tensors."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log2, pi

import torch
from torch import Tensor
from torch.nn import functional as F

from sam_moe.shapes import Bool, Float
from sam_moe.training.scans.cache import Scan

# Every fourth voxel along each axis is read to find what else a region shows.
_COARSE = 4
_LEAST_VOXELS = 40
# A further target is met by chance: a sliver of one teaches little.
_LEAST_OTHER_VOXELS = 200


@dataclass(frozen=True)
class Crop:
    """A region with its targets, all on the region's voxels; intensities not yet normalised."""

    image: Float[Tensor, "s s s"]
    targets: Bool[Tensor, "t s s s"]
    structure: str = "phantom"
    case: str = ""


@dataclass(frozen=True)
class Lattice:
    """A region's voxels in a scan: voxel `index` lies at `centre_mm + axes @ (index - size // 2)`."""

    centre_mm: Float[Tensor, "3"]
    axes: Float[Tensor, "3 3"]
    size: int


@dataclass(frozen=True)
class CropRanges:
    """How regions are drawn: ours, chosen to cover what prediction asks for (`predict/regions/where.py`).

    Half of the regions follow a box around the target, which then fills `box_fill` of the edge; the others
    are centred near a click at a spacing around `click_spacing_mm`: on the deepest of `candidates` voxels of
    the target, moved by up to `jitter_voxels` for half of them. Bodies are mirrored left to right; seldom
    along the other axes, as regions always follow the world's. No region is finer or coarser than `limits_mm`
    says. The defaults are those of `small`; `ranges_for` has those of any card.
    """

    box_share: float = 0.5
    box_fill: tuple[float, float] = (0.35, 0.85)
    click_spacing_mm: tuple[float, float] = (1.2, 4.5)
    mirrored_share: tuple[float, float, float] = (0.5, 0.05, 0.05)
    rotation_deg: float = 20.0
    rotated_share: float = 0.4
    jitter_voxels: float = 8.0
    candidates: int = 1
    limits_mm: tuple[float, float] = (0.5, 9.0)


# Those of `small`.
RANGES = CropRanges()


def ranges_for(
    spacing_mm: float, zoom_min: float, zoom_max: float, click_zoom: float, box_fill: float
) -> CropRanges:
    """The ranges in which a model with this preprocessing is asked: no other regions are worth learning.

    As wide around a card's click zoom and box fill as the defaults are around those of `small`, 1.5 mm times
    1.5 and 0.6, and no finer or coarser than prediction zooms (ours).

    >>> public = ranges_for(1.5, 1.0, 8.0, 1.0, 0.9)
    >>> public.limits_mm, [round(mm, 3) for mm in public.click_spacing_mm]
    ((1.5, 9.0), [0.8, 3.0])
    """
    (finest, coarsest), (least, most) = RANGES.limits_mm, RANGES.box_fill
    click, fill = spacing_mm * click_zoom / 2.25, box_fill / 0.6
    finest = max(finest, zoom_min * spacing_mm)
    return replace(
        RANGES,
        box_fill=(min(least * fill, 1.0), min(most * fill, 1.0)),
        click_spacing_mm=(RANGES.click_spacing_mm[0] * click, RANGES.click_spacing_mm[1] * click),
        limits_mm=(finest, max(finest, min(coarsest, zoom_max * spacing_mm))),
    )


def draw_crop(
    scan: Scan, label: int, size: int, ranges: CropRanges, rng: torch.Generator, targets: int = 1
) -> Crop | None:
    """Cut one region around one structure, or None where too little of it is seen.

    Further `targets` are other structures that the region happens to show, the first one again where there
    are none: a region is cut and encoded once for all of them. A scan without an image is a label map: its
    image is synthesised from random intensities per label (SynthSeg's idea, Billot et al., arXiv 2107.09559).
    """
    index = scan.voxels[label].long()
    if len(index) < 12:
        return None
    spacing = torch.tensor(scan.spacings_mm[0])
    low, high = index.amin(0), index.amax(0) + 1
    extent_mm = ((high - low) * spacing).max().item()
    if _uniform(rng) < ranges.box_share:
        fill = _uniform(rng, *ranges.box_fill)
        centre = ((low + high - 1) / 2).float()
        step = extent_mm / (fill * size)
        centre = centre + (torch.rand(3, generator=rng) - 0.5) * 0.1 * (high - low)
    else:
        tried = [index[_integer(rng, len(index))] for _ in range(ranges.candidates)]
        reach = ((high - low) // 4).clamp(min=1)
        deepest = max(tried, key=lambda at: _share(scan, label, at, reach)) if tried[1:] else tried[0]
        centre = deepest.float()
        step = 2 ** _uniform(rng, *(log2(s) for s in ranges.click_spacing_mm))
        if _uniform(rng) < 0.5:
            centre = centre + (torch.rand(3, generator=rng) * 2 - 1) * ranges.jitter_voxels * step / spacing
    step = min(max(step, ranges.limits_mm[0]), ranges.limits_mm[1])
    lattice = Lattice(centre * spacing, _turn(rng, ranges) * step, size)
    chosen = [label]
    if targets > 1 and (others := _others(scan, label, lattice)):
        order = torch.randperm(len(others), generator=rng).tolist()
        chosen += [others[n] for n in order[: targets - 1]]
    seen = _interpolate(scan.labels, scan.spacings_mm[0], lattice, only=chosen) >= 0.5
    least = [_LEAST_VOXELS, *[_LEAST_OTHER_VOXELS] * (len(chosen) - 1)]
    enough = seen.flatten(1).sum(1) >= torch.tensor(least)
    if not enough[0]:
        return None
    rows = [n for n, fine in enumerate(enough.tolist()) if fine]
    rows = (rows * targets)[:targets] if len(rows) < targets else rows
    image = _image(scan, lattice, rng)
    return Crop(image, seen[rows], scan.structures[label], f"{scan.group}/{scan.name}")


def _share(scan: Scan, label: int, at: Tensor, reach: Tensor) -> float:
    """How much of the block around a voxel is the structure; what lies beyond the scan is not."""
    around = zip((at - reach).clamp(min=0).tolist(), (at + reach + 1).tolist(), strict=True)
    block = scan.labels[tuple(slice(a, b) for a, b in around)]
    return float((block == label).sum())


def _others(scan: Scan, label: int, lattice: Lattice) -> list[int]:
    """Which other structures a region shows, by a look at every few voxels."""
    size = lattice.size
    line = (torch.arange(size // _COARSE) + 0.5) * _COARSE - size // 2
    grid = torch.stack(torch.meshgrid(line, line, line, indexing="ij"), dim=-1).flatten(0, 2)
    at = ((lattice.centre_mm + grid @ lattice.axes.T) / torch.tensor(scan.spacings_mm[0])).round().long()
    inside = ((at >= 0) & (at < torch.tensor(scan.labels.shape))).all(dim=1)
    i, j, k = at[inside].unbind(1)
    values, counts = scan.labels[i, j, k].unique(return_counts=True)
    found = [int(v) for v, n in zip(values, counts, strict=True) if n >= 4]
    return [v for v in found if v != label and v in scan.structures]


def _image(scan: Scan, lattice: Lattice, rng: torch.Generator) -> Tensor:
    """Interpolate or synthesise the region's image; beyond the scan stands its minimum, 0."""
    if not scan.levels:
        labels = _interpolate(scan.labels, scan.spacings_mm[0], lattice, nearest=True)
        return _synthesise(labels[0].long(), rng)
    step = lattice.axes.norm(dim=0).mean().item()
    level = max((n for n, s in enumerate(scan.spacings_mm) if n == 0 or min(s) <= step * 1.01), default=0)
    image, spacing = scan.levels[level], scan.spacings_mm[level]
    return _interpolate(image, spacing, lattice, shift=_block_shift(scan, level))[0]


def _block_shift(scan: Scan, level: int) -> list[float]:
    """Millimetres from the first voxel's centre to the first block's."""
    return [(b - a) / 2 for a, b in zip(scan.spacings_mm[0], scan.spacings_mm[level], strict=True)]


def _interpolate(
    array: Tensor,
    spacing: tuple[float, ...],
    lattice: Lattice,
    shift: list[float] | None = None,
    only: Sequence[int] = (),
    nearest: bool = False,
) -> Float[Tensor, "n s s s"]:
    """Trilinear samples of a scan on a lattice, zeros outside; one map for each of `only`."""
    spacing_mm = torch.tensor(spacing)
    size = lattice.size
    origin = (lattice.centre_mm - torch.tensor(shift or [0.0, 0.0, 0.0])) / spacing_mm
    matrix = lattice.axes / spacing_mm[:, None]
    half = size // 2
    # Only the part of the scan that the region can reach is turned into floats.
    reach = matrix.abs().sum(dim=1) * (half + 1)
    start = [max(0, int(torch.floor(o - r))) for o, r in zip(origin, reach, strict=True)]
    stop = [min(n, int(torch.ceil(o + r)) + 2) for n, o, r in zip(array.shape, origin, reach, strict=True)]
    if any(b <= a for a, b in zip(start, stop, strict=True)):
        return torch.zeros(max(1, len(only)), size, size, size)
    part = array[start[0] : stop[0], start[1] : stop[1], start[2] : stop[2]]
    part = torch.stack([part == v for v in only]).float() if only else part[None].float()
    origin = origin - torch.tensor(start)
    if 1 in part.shape[1:]:  # grid_sample takes an axis of one voxel for one without end
        part = F.pad(part, [pad for n in reversed(part.shape[1:]) for pad in (0, int(n == 1))])
    n = torch.tensor(part.shape[1:])
    # grid_sample wants (z, y, x) = (k, j, i), as shares of [-1, 1] between the outermost centres.
    scale = 2.0 / (n - 1).clamp(min=1)
    theta = (matrix * scale[:, None]).flip(0).flip(1)
    offset = (origin * scale - 1).flip(0)
    line = torch.arange(size) - half
    k, j, i = theta[:, 0], theta[:, 1], theta[:, 2]
    grid = (line.view(-1, 1, 1, 1) * i + line.view(1, -1, 1, 1) * j) + (line.view(1, 1, -1, 1) * k + offset)
    return F.grid_sample(
        part[None], grid[None], mode="nearest" if nearest else "bilinear", align_corners=True
    )[0]


def _turn(rng: torch.Generator, ranges: CropRanges) -> Float[Tensor, "3 3"]:
    """A random mirroring, and for a share of the regions a rotation."""
    mirrored = torch.rand(3, generator=rng) < torch.tensor(ranges.mirrored_share)
    axes = torch.diag(1 - 2 * mirrored.float())
    if _uniform(rng) < ranges.rotated_share:
        for a, b in ((0, 1), (0, 2), (1, 2)):
            angle = torch.tensor(_uniform(rng, -1, 1) * ranges.rotation_deg * pi / 180)
            turn = torch.eye(3)
            turn[a, a] = turn[b, b] = angle.cos()
            turn[a, b], turn[b, a] = -angle.sin(), angle.sin()
            axes = turn @ axes
    return axes


def _synthesise(labels: Tensor, rng: torch.Generator) -> Tensor:
    """An image with random intensity and spread per label, smoothed to a random resolution."""
    top = int(labels.max()) + 1
    mean = torch.rand(top, generator=rng) * 200
    mean[0] = mean[0] * (_uniform(rng) < 0.3)
    spread = torch.rand(top, generator=rng) * 20
    noise = torch.randn(labels.shape, generator=rng)
    image = mean[labels] + spread[labels] * noise
    if _uniform(rng) < 0.7:
        image = F.avg_pool3d(image[None, None], 3, 1, 1)[0, 0]
    return image - image.min()


def _uniform(rng: torch.Generator, low: float = 0.0, high: float = 1.0) -> float:
    return low + (high - low) * torch.rand((), generator=rng).item()


def _integer(rng: torch.Generator, below: int) -> int:
    return int(torch.randint(below, (), generator=rng))
