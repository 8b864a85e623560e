"""Regions cut from scans as training sees them: any place, zoom, turn and mirroring, in tensors."""

from dataclasses import dataclass
from math import log2, pi

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from sam_moe.training.sources import Scan


@dataclass(frozen=True)
class Crop:
    """A region with its target, both on the region's voxels; intensities not yet normalised."""

    image: Float[Tensor, "s s s"]
    target: Bool[Tensor, "s s s"]


@dataclass(frozen=True)
class CropRanges:
    """How regions are drawn: ours, chosen to cover what prediction asks for (`predict/regions.py`).

    Half of the regions follow a box around the target, which then fills `box_fill` of the edge; the others
    are centred near a click at a spacing around `click_spacing_mm`.
    """

    box_share: float = 0.5
    box_fill: tuple[float, float] = (0.35, 0.85)
    click_spacing_mm: tuple[float, float] = (1.2, 4.5)
    rotation_deg: float = 25.0
    rotated_share: float = 0.5
    jitter_voxels: float = 8.0


def draw_crop(scan: Scan, label: int, size: int, ranges: CropRanges, rng: torch.Generator) -> Crop | None:
    """Cut one region around one structure, or None where too little of it is seen.

    A scan without an image is a label map: its image is synthesised from random intensities per label
    (SynthSeg's idea, Billot et al., arXiv 2107.09559).
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
        centre = index[_integer(rng, len(index))].float()
        step = 2 ** _uniform(rng, *(log2(s) for s in ranges.click_spacing_mm))
        if _uniform(rng) < 0.5:
            centre = centre + (torch.rand(3, generator=rng) * 2 - 1) * ranges.jitter_voxels * step / spacing
    step = min(max(step, 0.5), 9.0)
    axes = _turn(rng, ranges) * step
    image, seen = _sample(scan, label, centre * spacing, axes, size, rng)
    if seen.sum() < 40:
        return None
    return Crop(image, seen)


def _sample(
    scan: Scan, label: int, centre_mm: Tensor, axes: Tensor, size: int, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Interpolate image and mask of the region; beyond the scan stands its minimum, 0."""
    step = axes.norm(dim=0).mean().item()
    labels = scan.labels
    if scan.levels:
        level = max((n for n, s in enumerate(scan.spacings_mm) if n == 0 or min(s) <= step * 1.01), default=0)
        image, spacing = scan.levels[level], scan.spacings_mm[level]
        seen_image = _interpolate(image, spacing, centre_mm, axes, size, shift=_block_shift(scan, level))
    mask = _interpolate(labels, scan.spacings_mm[0], centre_mm, axes, size, only=label) >= 0.5
    if not scan.levels:
        nearest = _interpolate(labels, scan.spacings_mm[0], centre_mm, axes, size, nearest=True).long()
        seen_image = _synthesise(nearest, rng)
    return seen_image, mask


def _block_shift(scan: Scan, level: int) -> list[float]:
    """Millimetres from the first voxel's centre to the first block's."""
    return [(b - a) / 2 for a, b in zip(scan.spacings_mm[0], scan.spacings_mm[level], strict=True)]


def _interpolate(
    array: Tensor,
    spacing: tuple[float, ...],
    centre_mm: Tensor,
    axes: Tensor,
    size: int,
    shift: list[float] | None = None,
    only: int | None = None,
    nearest: bool = False,
) -> Float[Tensor, "s s s"]:
    """Trilinear samples at centre + axes @ (index - size // 2), zeros outside."""
    spacing_mm = torch.tensor(spacing)
    origin = (centre_mm - torch.tensor(shift or [0.0, 0.0, 0.0])) / spacing_mm
    matrix = axes / spacing_mm[:, None]
    half = size // 2
    # Only the part of the scan that the region can reach is turned into floats.
    reach = matrix.abs().sum(dim=1) * (half + 1)
    start = [max(0, int(torch.floor(o - r))) for o, r in zip(origin, reach, strict=True)]
    stop = [min(n, int(torch.ceil(o + r)) + 2) for n, o, r in zip(array.shape, origin, reach, strict=True)]
    if any(b <= a for a, b in zip(start, stop, strict=True)):
        return torch.zeros(size, size, size)
    part = array[start[0] : stop[0], start[1] : stop[1], start[2] : stop[2]]
    part = (part == only).float() if only is not None else part.float()
    origin = origin - torch.tensor(start)
    if 1 in part.shape:  # grid_sample takes an axis of one voxel for one without end
        part = F.pad(part, [pad for n in reversed(part.shape) for pad in (0, int(n == 1))])
    n = torch.tensor(part.shape)
    # grid_sample wants (z, y, x) = (k, j, i), as shares of [-1, 1] between the outermost centres.
    scale = 2.0 / (n - 1).clamp(min=1)
    theta = (matrix * scale[:, None]).flip(0).flip(1)
    offset = (origin * scale - 1).flip(0)
    line = torch.arange(size) - half
    k, j, i = theta[:, 0], theta[:, 1], theta[:, 2]
    grid = (line.view(-1, 1, 1, 1) * i + line.view(1, -1, 1, 1) * j) + (line.view(1, 1, -1, 1) * k + offset)
    return F.grid_sample(
        part[None, None], grid[None], mode="nearest" if nearest else "bilinear", align_corners=True
    )[0, 0]


def _turn(rng: torch.Generator, ranges: CropRanges) -> Float[Tensor, "3 3"]:
    """A random mirroring, and for a share of the regions a rotation."""
    axes = torch.diag((torch.rand(3, generator=rng) < 0.5).float() * 2 - 1)
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
