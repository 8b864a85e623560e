"""Synthetic patients with known masks, drawn in millimetres: every grid shows the same patient."""

import math

import torch
from torch import Tensor

from sam_moe.shapes import Bool, Float
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume

_BODY, _TARGET = 100.0, 200.0  # intensities; air is 0


def ball(
    generator: torch.Generator, grid: Grid | None = None, radius_mm: float = 15.0, noise: float = 10.0
) -> tuple[Volume, Volume]:
    """Draw a ball near the middle of a body; by default on a grid of 48x48x48 voxels of 1.5 mm.

    Ours. Its centre is off by up to a quarter of the radius along each axis. Gives scan and mask (uint8).
    """
    grid = grid or Grid.around((0, 0, 0), (48, 48, 48), (1.5, 1.5, 1.5))
    places, middle = _places(grid)
    shift = (torch.rand(3, generator=generator) - 0.5) * radius_mm / 2
    inside = (places - middle - shift).norm(dim=-1) <= radius_mm
    return _scan(grid, inside, generator, noise)


def tube(
    generator: torch.Generator, grid: Grid | None = None, radius_mm: float = 4.0, noise: float = 10.0
) -> tuple[Volume, Volume]:
    """Draw a long curved tube: one turn of a helix through most of the grid, begun at a random angle.

    Ours; thin as an oesophagus or a vessel. Gives scan and mask (uint8).
    """
    grid = grid or Grid.around((0, 0, 0), (48, 48, 48), (1.5, 1.5, 1.5))
    places, middle = _places(grid)
    size = _world_size(grid)
    along = torch.linspace(-0.5, 0.5, 128)
    angle = 2 * math.pi * (along + torch.rand(1, generator=generator))
    swing = torch.stack([angle.cos(), angle.sin(), torch.zeros_like(angle)], dim=1) * size * 0.25
    path = middle + swing + along[:, None] * torch.tensor([0.0, 0.0, 0.8]) * size
    return _scan(grid, _near(places, path, radius_mm), generator, noise)


def two_regions(
    generator: torch.Generator,
    region_shape: tuple[int, int, int] = (32, 32, 32),
    spacing_mm: tuple[float, float, float] = (1.5, 1.5, 1.5),
    noise: float = 10.0,
) -> tuple[Volume, Volume]:
    """Draw a target twice as long as a region of interest along its first axis, so that one region cuts it.

    Ours. A bent sausage, its radius a fifth of a region, in a grid of 2.5 by 1.5 by 1.5 regions. Gives scan
    and mask (uint8).
    """
    long, wide, deep = region_shape
    grid = Grid.around((0, 0, 0), (5 * long // 2, 3 * wide // 2, 3 * deep // 2), spacing_mm)
    places, middle = _places(grid)
    region = torch.tensor([n * s for n, s in zip(region_shape, spacing_mm, strict=True)])
    radius_mm = 0.2 * float(region.min())
    half_mm = float(region[0]) - radius_mm  # the ends are round
    along = torch.linspace(-1, 1, 128)
    bend = 0.2 * float(region[1]) * (2 * torch.rand(1, generator=generator) - 1)
    path = middle + torch.stack([along * half_mm, (along**2 - 0.5) * bend, 0 * along], dim=1)
    return _scan(grid, _near(places, path, radius_mm), generator, noise)


def _places(grid: Grid) -> tuple[Float[Tensor, "i j k 3"], Float[Tensor, " 3"]]:
    """Millimetres of all voxel centres, and of the grid's middle."""
    i, j, k = (torch.arange(n, dtype=torch.float64) for n in grid.shape)
    index = torch.stack(torch.meshgrid(i, j, k, indexing="ij"), dim=-1)
    affine = torch.from_numpy(grid.affine.copy())
    places = index @ affine[:3, :3].T + affine[:3, 3]
    return places.float(), torch.from_numpy(grid.corners_mm.mean(axis=0)).float()


def _world_size(grid: Grid) -> Float[Tensor, " 3"]:
    """The size of the grid's bounding box along the world's axes, in millimetres."""
    corners = torch.from_numpy(grid.corners_mm).float()
    return corners.amax(dim=0) - corners.amin(dim=0)


def _near(
    places: Float[Tensor, "i j k 3"], path: Float[Tensor, "n 3"], radius_mm: float
) -> Bool[Tensor, "i j k"]:
    """Which places lie within the radius of any point of a densely sampled path."""
    planes = [torch.cdist(plane, path).amin(dim=-1) <= radius_mm for plane in places]
    return torch.stack(planes)


def _scan(
    grid: Grid, inside: Bool[Tensor, "i j k"], generator: torch.Generator, noise: float
) -> tuple[Volume, Volume]:
    """Show the target in an ellipsoid of a body, under a bias field of up to 20 % and Gaussian noise."""
    places, middle = _places(grid)
    relative = (places - middle) / (_world_size(grid) / 2)
    body = inside | (relative.norm(dim=-1) <= 0.95)
    tilt = torch.rand(3, generator=generator) - 0.5
    bias = 1 + 0.4 / 3 * (relative @ tilt)
    shown = torch.where(inside, _TARGET, torch.where(body, _BODY, 0.0)) * bias
    shown += noise * torch.randn(grid.shape, generator=generator)
    return Volume(shown, grid), Volume(inside.to(torch.uint8), grid)
