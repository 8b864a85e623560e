"""Where voxels are: an affine and a shape, and every question about places answered from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import Any, TypeAlias

import numpy as np

from sam_moe.errors import GeometryError
from sam_moe.shapes import Float

# Numbers as people write them: a tuple, a list of tuples or an array.
Coordinates: TypeAlias = np.ndarray | Sequence[Any]

_DIRECTIONS = ("LR", "PA", "IS")

# Between these squares and volumes of lengths are ordinary numbers; a proton is 1e-12 mm across.
_LEAST_MM, _MOST_MM = 1e-9, 1e9
# The steps in which a double can give a voxel's place may be so large a part of the voxel.
_EXACT_VOXELS = 1e-4


@dataclass(frozen=True, eq=False, repr=False)
class Grid:
    """Voxels in the world, in patient coordinates: RAS+ millimetres (x right, y front, z up), as in NIfTI.

    Ours. Two grids are compared with `same_as`, never with `==`. A region of interest is just another Grid.

    Args:
        affine: 4x4, from the index (i, j, k) of a voxel's centre to millimetres; kept as float64, read-only.
        shape: how many voxels there are along i, j and k, the stored axes.

    Raises:
        GeometryError: for an affine that is not a finite invertible 4x4 matrix, a shape that is not three
            positive whole numbers, or voxels too far from the world's origin for a double to place them.

    >>> grid = Grid(np.diag([-0.5, -0.5, 2.0, 1.0]), (512, 512, 80))
    >>> grid.spacing_mm, grid.axcodes, grid.world_of((10, 0, 3)).tolist()
    ((0.5, 0.5, 2.0), 'LPS', [-5.0, 0.0, 6.0])
    """

    affine: Float[np.ndarray, "4 4"]
    shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=np.float64)
        square = affine.shape == (4, 4) and np.array_equal(affine[3], (0, 0, 0, 1))
        if not square or not np.isfinite(affine).all():
            raise GeometryError(
                f"not an affine: {affine.tolist()}. Expected a finite 4x4 matrix with last row 0 0 0 1 that "
                "takes voxel indices to RAS+ millimetres."
            )
        with np.errstate(over="ignore"):  # what is infinite then is refused by name
            lengths = np.hypot.reduce(affine[:3, :3], axis=0)  # squares of the tiniest would be 0
        if lengths.min() > 0 and not _usable(lengths):
            raise GeometryError(
                f"voxels of {_show(lengths)} mm. Expected {_LEAST_MM:g} to {_MOST_MM:g} mm; mend the "
                "spacing in the file, which is given in millimetres."
            )
        if lengths.min() == 0 or abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-6:
            raise GeometryError(
                f"the affine {affine.tolist()} flattens space. Expected three independent voxel axes; mend "
                "the file's orientation and spacing."
            )
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 3 or min(shape) < 1 or shape != tuple(self.shape):
            raise GeometryError(
                f"not a shape: {self.shape}. Expected three positive whole numbers of voxels (i, j, k)."
            )
        _check_exact(affine, lengths, shape)
        affine.setflags(write=False)
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "shape", shape)

    @staticmethod
    def around(centre_mm: Coordinates, shape: Sequence[int], spacing_mm: Coordinates) -> "Grid":
        """Make a grid along the world's axes whose voxel `shape // 2` has its centre exactly at `centre_mm`.

        Ours. World-aligned on purpose: a patient who was re-sliced obliquely gives the same region.

        Args:
            centre_mm: a place in RAS+ millimetres.
            shape: voxels along x, y and z.
            spacing_mm: distances between voxel centres along x, y and z.

        Raises:
            GeometryError: for a spacing that is not three positive numbers, and as for `Grid`.

        >>> Grid.around((10, 20, 30), (4, 4, 4), (1.5, 1.5, 1.5)).world_of((2, 2, 2)).tolist()
        [10.0, 20.0, 30.0]
        """
        spacing = np.asarray(spacing_mm, dtype=np.float64)
        if spacing.shape != (3,) or not (np.isfinite(spacing) & (spacing > 0)).all():
            raise GeometryError(f"spacing {spacing_mm} mm is not usable. Expected three positive numbers.")
        count_x, count_y, count_z = shape
        affine = np.diag([*spacing, 1.0])
        middle = np.array([count_x // 2, count_y // 2, count_z // 2])
        affine[:3, 3] = np.asarray(centre_mm, dtype=np.float64) - middle * spacing
        return Grid(affine, (count_x, count_y, count_z))

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """The distance between neighbouring voxel centres along i, j and k."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return x, y, z

    @property
    def extent_mm(self) -> tuple[float, float, float]:
        """The length of the grid along i, j and k, from outer edge to outer edge."""
        x, y, z = (n * s for n, s in zip(self.shape, self.spacing_mm, strict=True))
        return x, y, z

    @property
    def voxel_ml(self) -> float:
        """The volume of one voxel in millilitres."""
        return abs(float(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    @property
    def axcodes(self) -> str:
        """The world direction that each stored axis points to most, such as "RAS" or "LPS".

        The convention of nibabel's `aff2axcodes`: the letter names where the index grows to.
        """
        cosines = self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0)
        worlds = max(permutations(range(3)), key=lambda order: sum(np.abs(cosines[order, range(3)])))
        return "".join(_DIRECTIONS[w][int(cosines[w, v] > 0)] for v, w in enumerate(worlds))

    @property
    def corners_mm(self) -> Float[np.ndarray, "8 3"]:
        """The eight outer corners: edges of the outermost voxels, not their centres."""
        return self.world_of(self._corners(margin=0.5))

    def world_of(self, index: Coordinates) -> Float[np.ndarray, "*b 3"]:
        """Voxel indices (i, j, k), shape (..., 3), as RAS+ millimetres; whole numbers are voxel centres.

        Raises:
            GeometryError: for an array whose last axis is not 3.
        """
        return _apply(self.affine, index)

    def index_of(self, xyz_mm: Coordinates) -> Float[np.ndarray, "*b 3"]:
        """RAS+ millimetres, shape (..., 3), as voxel indices (i, j, k), fractions kept.

        Raises:
            GeometryError: for an array whose last axis is not 3.
        """
        return _apply(np.linalg.inv(self.affine), xyz_mm)

    def to(self, other: "Grid") -> Float[np.ndarray, "4 4"]:
        """The 4x4 matrix from voxel indices of this grid to those of the other."""
        return np.asarray(np.linalg.inv(other.affine) @ self.affine, dtype=np.float64)

    def inside(self, index: Coordinates) -> bool:
        """Whether a voxel index lies in the grid, half a voxel around the outer centres included.

        Half-open, [-0.5, n - 0.5) on every axis, so that neighbouring grids share no point.
        """
        at = np.asarray(index, dtype=np.float64)
        return bool(((at >= -0.5) & (at < np.array(self.shape) - 0.5)).all())

    def distance_voxels(self, other: "Grid") -> float:
        """How far apart, in voxels along one axis, equally indexed voxels of two grids lie at most.

        Infinite where the shapes differ.
        """
        if self.shape != other.shape:
            return float("inf")
        corners = self._corners(margin=0.0)
        return float(np.abs(_apply(self.to(other), corners) - corners).max())

    def same_as(self, other: "Grid", tolerance_voxels: float = 1e-3) -> bool:
        """Whether both grids have the same shape, and voxels of one index lie within `tolerance_voxels`."""
        return self.distance_voxels(other) < tolerance_voxels

    def same_places(self, other: "Grid", tolerance_voxels: float = 1e-3) -> bool:
        """Whether both grids have the same voxels, if perhaps in another order or direction of the axes."""
        matrix = self.to(other)
        linear = np.round(matrix[:3, :3])
        if not np.array_equal(np.abs(linear).sum(axis=0), (1, 1, 1)) or abs(np.linalg.det(linear)) != 1:
            return False
        axes = np.abs(linear).argmax(axis=0)
        if tuple(other.shape[axis] for axis in axes) != self.shape:
            return False
        ends = self._corners(margin=0.0)
        exact = ends @ linear.T + np.where(linear.sum(axis=1) < 0, np.array(other.shape) - 1, 0)
        return float(np.abs(_apply(matrix, ends) - exact).max()) < tolerance_voxels

    def __repr__(self) -> str:
        shape = "x".join(str(n) for n in self.shape)
        spacing = "x".join(f"{s:.6g}" for s in self.spacing_mm)
        rows = "; ".join(" ".join(f"{x:.7g}" for x in row) for row in self.affine[:3])
        return f"Grid({shape} voxels of {spacing} mm, {self.axcodes}, affine [{rows}])"

    def _corners(self, margin: float) -> Float[np.ndarray, "8 3"]:
        return np.array(list(product(*((-margin, n - 1 + margin) for n in self.shape))), dtype=np.float64)


def same_grid(image: Grid, label: Grid) -> None:
    """Raise GeometryError, both grids printed, unless they agree to 1e-3 voxel."""
    if not image.same_as(label):
        apart = image.distance_voxels(label)
        reason = (
            "their shapes differ" if apart == float("inf") else f"voxels lie up to {apart:.3g} voxels apart"
        )
        raise GeometryError(
            f"not the same grid, {reason}: {image} and {label}. Expected less than 0.001 voxel; resample the "
            "label onto the image's grid, or find the label that belongs to this image."
        )


def _apply(matrix: Float[np.ndarray, "4 4"], points: Coordinates) -> Float[np.ndarray, "*b 3"]:
    at = np.asarray(points, dtype=np.float64)
    if at.ndim == 0 or at.shape[-1] != 3:
        raise GeometryError(f"points of shape {at.shape} are not places in space. Expected (..., 3).")
    return np.asarray(at @ matrix[:3, :3].T + matrix[:3, 3], dtype=np.float64)


def _usable(lengths: Float[np.ndarray, "3"]) -> bool:
    return bool(np.isfinite(lengths).all() and lengths.min() >= _LEAST_MM and lengths.max() <= _MOST_MM)


def _check_exact(
    affine: Float[np.ndarray, "4 4"], lengths: Float[np.ndarray, "3"], shape: tuple[int, ...]
) -> None:
    """Refuse voxels so far away that doubles cannot distinguish their places."""
    reach = np.abs(affine[:3, :3]) @ np.array(shape, dtype=np.float64) + np.abs(affine[:3, 3])
    step = float(np.spacing(reach.max()))
    if step > _EXACT_VOXELS * lengths.min():
        raise GeometryError(
            f"voxels of {_show(lengths)} mm lie up to {reach.max():.6g} mm from the world's origin, where "
            f"places can only be distinguished in steps of {step:.3g} mm. Expected steps below "
            f"{_EXACT_VOXELS:g} of a voxel; mend the origin in the file, or move the scan nearer to 0."
        )


def _show(lengths: Float[np.ndarray, "3"]) -> str:
    return "x".join(f"{length:.6g}" for length in lengths)
