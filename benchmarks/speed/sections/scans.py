"""The scans that the speed table is measured on: synthetic, written to files, with organs where they lie."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.promptable import PromptableSam3D
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.predict.model import Model
from sam_moe.prompts import Point
from sam_moe.registry import Preprocessing
from sam_moe.space.files import read, write_volume
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume

LARGE = (512, 512, 300), (0.75, 0.75, 1.5)
ORDINARY = (256, 256, 128), (1.5, 1.5, 2.5)

# RAS+ millimetres from the middle of the abdomen: about where the organs of the BTCV challenge lie.
ORGANS = {
    "liver": (80, 10, 30),
    "spleen": (-95, -30, 30),
    "kidney right": (60, -50, -40),
    "kidney left": (-60, -50, -25),
    "gallbladder": (45, 35, -20),
    "esophagus": (-5, -15, 90),
    "stomach": (-50, 35, 40),
    "aorta": (-10, -45, 0),
    "vena cava": (15, -35, 0),
    "portal vein": (10, 0, 0),
    "pancreas": (-15, 10, -10),
    "adrenal right": (30, -35, 15),
    "adrenal left": (-35, -35, 15),
}


@dataclass(frozen=True)
class Scene:
    """A scan, its file, and where to click."""

    volume: Volume
    path: Path

    @property
    def voxels(self) -> int:
        return self.volume.array.numel()


def scan_of(shape: Sequence[int], spacing_mm: Sequence[float], seed: int = 0) -> Volume:
    """A body with an organ at each place and noise, int16 as CT is stored."""
    grid = Grid.around((0, 0, 0), shape, spacing_mm)
    axes = [
        torch.from_numpy(grid.affine[a, a] * torch.arange(n).numpy() + grid.affine[a, 3])
        for a, n in enumerate(shape)
    ]
    x, y, z = axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :]
    rng = torch.Generator().manual_seed(seed)
    array = torch.full(tuple(shape), -1000, dtype=torch.int16)
    array[((x / 150) ** 2 + (y / 110) ** 2 + 0 * z) < 1] = 0
    for value, (i, j, k) in enumerate(ORGANS.values()):
        array[(x - i) ** 2 + (y - j) ** 2 + (z - k) ** 2 < 15**2] = 40 + 10 * value
    noise = torch.randint(-20, 21, tuple(shape), dtype=torch.int16, generator=rng)
    return Volume(array + noise, grid)


def scene(folder: Path, shape: Sequence[int], spacing_mm: Sequence[float], name: str, seed: int = 0) -> Scene:
    """A scan and its file, read from there: as scans come, i runs fastest in memory."""
    path = folder / name
    write_volume(path, scan_of(shape, spacing_mm, seed))
    return Scene(read(path), path)


def public_model() -> Model:
    """The public model's sizes and random weights; one region a target, as random masks know no border."""
    torch.manual_seed(0)
    public = Preprocessing(region_voxels=128, spacing_mm=1.5, normalisation="positive")
    network = SamMed3D(Sizes()).eval().requires_grad_(False)
    return Model(PromptableSam3D(network, "positive", "mask"), public, "random", whole_targets=False)


def clicks(count: int, organ: str = "portal vein") -> list[Point]:
    """So many positive clicks around an organ's middle, in millimetres."""
    x, y, z = ORGANS[organ]
    rng = torch.Generator().manual_seed(count)
    moved = (torch.rand(count, 3, generator=rng) * 16 - 8).tolist()
    return [
        Point((x + a * (n > 0), y + b * (n > 0), z + c * (n > 0)), space="mm")
        for n, (a, b, c) in enumerate(moved)
    ]
