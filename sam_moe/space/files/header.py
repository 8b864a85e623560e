"""What a file's header promises, and the checks that it must pass before a voxel is read."""

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from sam_moe.errors import FileError, GeometryError
from sam_moe.shapes import Float
from sam_moe.space.grid import Grid

logger = logging.getLogger(__name__)

# From what a file stores to what torch computes with; unsigned types move to the next larger signed one.
_TORCH_TYPE = {
    "bool": torch.uint8,
    "uint8": torch.uint8,
    "int8": torch.int8,
    "int16": torch.int16,
    "uint16": torch.int32,
    "int32": torch.int32,
    "uint32": torch.int64,
    "int64": torch.int64,
    "uint64": torch.int64,
    "float32": torch.float32,
    "float64": torch.float32,
}
_SHEAR = 1e-4
_FLOAT32_NOISE = 1e-6


@dataclass(frozen=True, eq=False)
class Header:
    """A volume's header, already checked; nothing of the voxels was read.

    `stored` is the type in the file with its byte order, `dtype` the type that `read` returns, `scale` the
    slope and intercept to apply, `files` the slices of a series in order, `padding` the least and the
    greatest value that stand for no image, `memory_bytes` the most that reading takes at once.
    """

    path: Path
    format: str
    shape: tuple[int, int, int]
    stored: np.dtype
    affine: Float[np.ndarray, "4 4"]
    scale: tuple[float, float] | None = None
    files: tuple[Path, ...] = ()
    padding: tuple[float, float] | None = None

    @property
    def grid(self) -> Grid:
        """The grid of the volume."""
        return Grid(self.affine, self.shape)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """The distance between neighbouring voxel centres along i, j and k."""
        return self.grid.spacing_mm

    @property
    def dtype(self) -> torch.dtype:
        """The type of the array that `read` returns."""
        return torch.float32 if self.scale else _TORCH_TYPE[self.stored.name]

    @property
    def data_bytes(self) -> int:
        """The length of the voxels in the file, uncompressed."""
        return int(self.stored.itemsize) * _count(self.shape)

    @property
    def memory_bytes(self) -> int:
        """The most memory that reading takes at once: the stored voxels and, where converted, the result."""
        as_stored = not self.scale and str(self.dtype) == f"torch.{self.stored.name}"
        return self.data_bytes + (0 if as_stored else _count(self.shape) * self.dtype.itemsize)


def check_header(header: Header) -> Header:
    """Give the header back if its type, shape and affine can become a Volume, the affine orthonormalised.

    Raises:
        FileError: for a type that holds no single real number, or for a volume less than two voxels thick.
        GeometryError: for an affine that is sheared, not finite, or of impossible spacing.
    """
    path = header.path
    if header.stored.name not in _TORCH_TYPE:
        raise FileError(
            f"{path}: voxels of type {header.stored.name} are not supported. Expected one real number for "
            "each voxel (integer or floating point); convert colour or complex images to grey values first."
        )
    if min(header.shape) < 2:
        raise FileError(
            f"{path}: shape {header.shape} is a single slice or row. Expected at least 2 voxels along each "
            "axis; hand in the whole 3-D scan."
        )
    checked = replace(header, affine=check_affine(path, header.affine))
    try:
        _ = checked.grid
    except GeometryError as error:  # what no file can mean, such as an origin beyond all precision
        raise GeometryError(f"{path}: {error}") from error
    return checked


def check_affine(path: Path, affine: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
    """Give back an affine with orthogonal axes; shear below 1e-4 is taken out, more is refused.

    Shear is the most that a direction cosine moves when the axes are made right-angled (polar decomposition).

    Raises:
        GeometryError: naming the wrong number.
    """
    if not np.isfinite(affine).all():
        raise GeometryError(
            f"{path}: the affine {np.asarray(affine).tolist()} is not finite. Expected numbers; the header "
            "is damaged, export the scan again."
        )
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if lengths.min() < 1e-4 or lengths.max() > 1e4:
        raise GeometryError(
            f"{path}: voxel spacing {lengths.tolist()} mm is impossible. Expected 0.0001 to 10000 mm; "
            "correct the header's spacing."
        )
    axes = affine[:3, :3] / lengths
    left, _, right = np.linalg.svd(axes)
    orthonormal = left @ right  # the nearest right-angled axes
    shear = float(np.abs(orthonormal - axes).max())
    if shear > _SHEAR:
        cosines = (axes.T @ axes)[[0, 0, 1], [1, 2, 2]]
        raise GeometryError(
            f"{path}: the affine is sheared, its direction cosines are up to {shear:.3g} off right angles "
            f"(cosines between axes ij, ik, jk: {', '.join(f'{c:.4g}' for c in cosines)}). Expected at most "
            f"{_SHEAR:g}; resample the scan onto an unsheared grid first."
        )
    if shear > _FLOAT32_NOISE:
        logger.info("%s: shear of %.2g taken out of the affine", path, shear)
        affine = affine.copy()
        affine[:3, :3] = orthonormal * lengths
    return affine


def spatial_shape(path: Path, sizes: Iterable[float]) -> tuple[int, int, int]:
    """Give the three spatial sizes; further axes must have length 1.

    Raises:
        FileError: for another number of axes, or a size below 1.
    """
    sizes = tuple(sizes)
    dims = tuple(int(n) for n in sizes)
    if dims != sizes or any(n < 1 for n in dims):
        raise FileError(
            f"{path}: sizes {sizes} are impossible. Expected positive whole sizes; the header is damaged."
        )
    if len(dims) < 3:
        raise FileError(
            f"{path}: an image of {len(dims)} dimensions {dims}. Expected a 3-D scan of at least 2 voxels "
            "along each axis; hand in the whole scan."
        )
    if any(n != 1 for n in dims[3:]):
        raise FileError(
            f"{path}: an image of {len(dims)} dimensions {dims}, of which dimensions 4 and up are "
            f"{dims[3:]}. Expected one 3-D volume; extract the time point, channel or direction to segment."
        )
    return dims[0], dims[1], dims[2]


def check_memory(header: Header, limit_bytes: int | None) -> None:
    """Raise FileError, with the estimate, where reading would take more than the limit.

    The limit is by default what this machine has available now.
    """
    limit = available_memory_bytes() if limit_bytes is None else limit_bytes
    if limit is not None and header.memory_bytes > limit:
        shape = "x".join(str(n) for n in header.shape)
        raise FileError(
            f"{header.path}: reading {shape} voxels of {header.stored.name} would take "
            f"{_gib(header.memory_bytes)}, more than the limit of {_gib(limit)}. Expected a volume that fits "
            "in memory; crop or resample it, or raise memory_limit_bytes on a machine that has the memory."
        )


def available_memory_bytes() -> int | None:
    """Bytes of memory that are free for this process, container limits included; None where unknown."""
    bounds = []
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                bounds.append(int(line.split()[1]) * 1024)
    except (OSError, ValueError):
        pages = "SC_PHYS_PAGES"
        if pages in getattr(os, "sysconf_names", {}):
            bounds.append(os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE"))
    try:
        group = Path("/sys/fs/cgroup")
        most, used = ((group / name).read_text().strip() for name in ("memory.max", "memory.current"))
        bounds.append(max(0, int(most) - int(used)))
    except (OSError, ValueError):  # no container, or one without a limit
        pass
    return min(bounds, default=None)


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 / 100 else f"{size:,} bytes"


def _count(shape: tuple[int, int, int]) -> int:
    return shape[0] * shape[1] * shape[2]
