"""A fake SPPIN 2023 of synthetic patients, small, in the challenge's layout, for tests and documentation.

`PT_<number>/<time point>/` holds T1, T2, DWI_b0, DWI_b100 and segmentation as .mha. As in the challenge there
are two time points a patient, each series lies on a grid of its own, they are not registered (the patient
moves by up to 2 mm between series), and half of the T1 are with contrast. What of the names is known and what
is assumed stands in `layouts/sppin.py`. The tumour is a ball, smaller at the second time; nothing else of it
is like a neuroblastoma, so that no figure measured on it says anything about patients.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sam_moe.cases.source import Source
from sam_moe.config import dump_settings
from sam_moe.evaluation.challenge.challenge import Challenge
from sam_moe.shapes import Float, Shaped
from sam_moe.space.files import write_mask, write_volume
from sam_moe.space.grid import Grid
from sam_moe.space.phantom import ball
from sam_moe.space.volume import Volume

Triple = tuple[float, float, float]

YAML = "challenge.yaml"
_RADII_MM = (26.0, 15.0)
_MOTION_MM = 2.0


@dataclass(frozen=True)
class _Series:
    """How a series is cut, and how bright its tumour is where the body is 100."""

    name: str
    shape: tuple[int, int, int]
    spacing_mm: Triple
    tilt_deg: float
    tumour: float


_SERIES = (
    _Series("T1", (52, 46, 24), (3.5, 3.5, 6.0), 0.0, 80.0),
    _Series("T2", (44, 40, 26), (4.0, 4.0, 5.5), 12.0, 170.0),
    _Series("DWI_b0", (36, 32, 20), (5.0, 5.0, 7.0), -7.0, 150.0),
    _Series("DWI_b100", (36, 32, 20), (5.0, 5.0, 7.0), -7.0, 220.0),
)
_WITH_CONTRAST = 190.0  # the tumour on T1


def make_fake_sppin(folder: Path, patients: int = 3, seed: int = 0) -> Path:
    """Write the fake challenge into a folder, made where it is missing; gives its `challenge.yaml`.

    The same seed gives the same voxels.

    Raises:
        FileError: where it cannot be written.
    """
    generator = torch.Generator().manual_seed(seed)
    for number in range(1, patients + 1):
        centre = (10.0 * number, -20.0, 15.0)
        for time, radius_mm in enumerate(_RADII_MM, start=1):
            scans = folder / f"PT_{number:02d}" / str(time)
            scans.mkdir(parents=True, exist_ok=True)
            _scan_set(scans, centre, radius_mm, contrast=(number + time) % 2 == 0, generator=generator)
    challenge = Challenge(
        name="fake-sppin",
        title="Synthetic scans in the layout of SPPIN 2023",
        sets=(Source(layout="sppin", root="."),),
        labels={"neuroblastoma": (1,)},
        reference="T1",
        licence="synthetic, Apache-2.0",
    )
    dump_settings(challenge, folder / YAML)
    return folder / YAML


def _scan_set(
    folder: Path, centre: Triple, radius_mm: float, contrast: bool, generator: torch.Generator
) -> None:
    drawn = int(torch.randint(2**31, (1,), generator=generator))  # the same tumour in every series
    for series in _SERIES:
        grid = _grid(series, centre)
        scan, mask = ball(torch.Generator().manual_seed(drawn), grid, radius_mm)
        tumour = _WITH_CONTRAST if contrast and series.name == "T1" else series.tumour
        shown = _shown(scan.array, mask.array, tumour)
        if series.name == "T1":
            write_mask(folder / "segmentation.mha", mask.array, grid)
        else:
            grid = _moved(grid, generator)
        write_volume(folder / f"{series.name}.mha", Volume(shown, grid))


def _grid(series: _Series, centre: Triple) -> Grid:
    """A grid around the patient's middle, tilted in the sagittal plane as a technician might."""
    angle = math.radians(series.tilt_deg)
    turn = np.eye(3)
    turn[1:, 1:] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    affine: Float[np.ndarray, "4 4"] = np.eye(4)
    # stored as scanners do: to the left, to the back, to the head
    affine[:3, :3] = turn @ np.diag([-1.0, -1.0, 1.0]) * np.array(series.spacing_mm)
    middle = (np.array(series.shape) - 1) / 2
    affine[:3, 3] = np.array(centre) - affine[:3, :3] @ middle
    return Grid(affine, series.shape)


def _moved(grid: Grid, generator: torch.Generator) -> Grid:
    shift = (2 * torch.rand(3, generator=generator).double().numpy() - 1) * _MOTION_MM / math.sqrt(3)
    affine = grid.affine.copy()
    affine[:3, 3] += shift
    return Grid(affine, grid.shape)


def _shown(
    scan: Float[Tensor, "i j k"], mask: Shaped[Tensor, "i j k"], tumour: float
) -> Shaped[Tensor, "i j k"]:
    """The phantom, whose target is 200, with another target's intensity; whole numbers from 0."""
    return torch.where(mask > 0, scan * tumour / 200, scan).clamp(min=0).round().to(torch.int16)
