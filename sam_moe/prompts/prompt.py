"""Points, boxes and their order: what a user says about one target, wherever the volume lies.

A voxel index is `(i, j, k)` along the stored axes, counted from 0, and means the *centre* of that voxel.
Millimetres are RAS+ world coordinates. A voxel box is half-open, `[start, stop)`: its outer edges lie half a
voxel before the centre of `start` and half a voxel before the centre of `stop`. A box in millimetres is just
its edges. All of this is ours.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sam_moe.errors import GeometryError, PromptError
from sam_moe.shapes import Float

Space = Literal["voxel", "mm"]
Triple = tuple[float, float, float]

_SPACES = ("voxel", "mm")
_ROUNDING_VOXELS = 1e-6  # what a box may stick out after a trip through two affines


@dataclass(frozen=True)
class Point:
    """One click: on the target, or beside it (`positive=False`).

    >>> print(Point((40, 52, 17)))
    +point (40, 52, 17)
    """

    at: Triple
    positive: bool = True
    space: Space = "voxel"

    def __post_init__(self) -> None:
        """Normalise the coordinates to floats, or say which of them is wrong."""
        object.__setattr__(self, "at", _triple(self.at, "a point"))
        _check_space(self.space)

    def __str__(self) -> str:
        """Sign, coordinates and, for millimetres, the unit."""
        return f"{'+' if self.positive else '-'}point {_show(self.at)}{' mm' * (self.space == 'mm')}"


@dataclass(frozen=True)
class Box:
    """A box around the target: half-open `[start, stop)` in voxels, plain edges in millimetres.

    >>> print(Box((10, 10, 4), (20, 22, 9)))
    box (10, 10, 4) to (20, 22, 9)
    """

    start: Triple
    stop: Triple
    space: Space = "voxel"

    def __post_init__(self) -> None:
        """Normalise the corners to floats; an empty or inverted box is refused."""
        object.__setattr__(self, "start", _triple(self.start, "a box's start"))
        object.__setattr__(self, "stop", _triple(self.stop, "a box's stop"))
        _check_space(self.space)
        for axis, (low, high) in enumerate(zip(self.start, self.stop, strict=True)):
            if low >= high:
                raise PromptError(
                    f"box from {_show(self.start)} to {_show(self.stop)} is empty along axis {axis} "
                    f"({low:g} >= {high:g}). A box is half-open [start, stop): stop must be greater "
                    "than start on all three axes; one voxel i is written i to i+1."
                )

    @property
    def centre(self) -> Triple:
        """The middle of the box in its own space; in voxels an index, often fractional."""
        low, high = self._edges()
        return _floats((low + high) / 2)

    @property
    def size(self) -> Triple:
        """Edge lengths in the box's own unit: voxels or millimetres."""
        return _floats(np.subtract(self.stop, self.start))

    def __str__(self) -> str:
        """Both corners and, for millimetres, the unit."""
        return f"box {_show(self.start)} to {_show(self.stop)}{' mm' * (self.space == 'mm')}"

    def _edges(self) -> tuple[np.ndarray, np.ndarray]:
        """Outer edges on the scale on which voxel *centres* are whole numbers."""
        shift = 0.5 if self.space == "voxel" else 0.0
        return np.subtract(self.start, shift), np.subtract(self.stop, shift)

    @staticmethod
    def _from_edges(low: np.ndarray, high: np.ndarray, space: Space) -> "Box":
        shift = 0.5 if space == "voxel" else 0.0
        return Box(_floats(low + shift), _floats(high + shift), space)


Item = Point | Box


@dataclass(frozen=True)
class Prompt:
    """What was said about one target, in order: click *n* is item *n*.

    >>> prompt = Prompt((Point((4, 5, 6)),)) + Point((9, 5, 6), positive=False)
    >>> print(prompt)
    +point (4, 5, 6), -point (9, 5, 6)
    """

    items: tuple[Item, ...] = ()

    def __post_init__(self) -> None:
        """Refuse anything that is neither a point nor a box."""
        object.__setattr__(self, "items", tuple(self.items))
        for number, item in enumerate(self.items):
            if not isinstance(item, Point | Box):
                raise PromptError(
                    f"item {number} of the prompt is a {type(item).__name__}; expected Point((i, j, k)) or "
                    "Box(start, stop)."
                )

    def __iter__(self) -> Iterator[Item]:
        """The items in the order they were given."""
        return iter(self.items)

    def __len__(self) -> int:
        """How many items were given."""
        return len(self.items)

    def __add__(self, item: Item) -> "Prompt":
        """The same prompt with one more item at its end."""
        return Prompt((*self.items, item))

    def __str__(self) -> str:
        """All items in order."""
        return ", ".join(map(str, self.items)) or "nothing"

    @property
    def points(self) -> tuple[Point, ...]:
        """The clicks, in order."""
        return tuple(item for item in self.items if isinstance(item, Point))

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The boxes, in order."""
        return tuple(item for item in self.items if isinstance(item, Box))

    def upto(self, n: int) -> "Prompt":
        """The prompt as it stood after its first `n` items (undo keeps `len - 1`)."""
        if n < 0:
            raise PromptError(f"cannot keep {n} items of a prompt: give a count from 0 to {len(self)}.")
        return Prompt(self.items[:n])

    def map(self, matrix: Float[np.ndarray, "4 4"], space: Space = "voxel") -> "Prompt":
        """Carry every item through an affine into `space`, keeping their order.

        `matrix` takes the items' own coordinates (voxel centres, or millimetres) to those of the target
        space: `grid.to(other)` for voxel to voxel. All items must share one space, else one matrix cannot
        serve. A box becomes the bounding box of its mapped corners: exact under flips and permutations,
        larger under rotations.
        """
        _check_space(space)
        matrix = _affine(matrix)
        spaces = {item.space for item in self.items}
        if len(spaces) > 1:
            raise PromptError(
                "this prompt mixes voxel indices and millimetres, which one matrix cannot map. "
                "First bring it into one space: prompt.in_mm(affine) or prompt.in_voxels(affine)."
            )
        return Prompt(tuple(_mapped(item, matrix, space) for item in self.items))

    def in_mm(self, affine: Float[np.ndarray, "4 4"]) -> "Prompt":
        """All items in RAS+ millimetres; voxel items are indices of the grid with this affine."""
        return self._into("mm", _affine(affine))

    def in_voxels(self, affine: Float[np.ndarray, "4 4"]) -> "Prompt":
        """All items as voxel indices of the grid with this affine; items already in voxels stay as they are.

        To go from one grid's voxels to another's, use `map(grid.to(other))`.
        """
        return self._into("voxel", np.linalg.inv(_affine(affine)))

    def check_inside(self, affine: Float[np.ndarray, "4 4"], shape: Sequence[int]) -> None:
        """Raise PromptError unless every item lies in the volume with this affine and shape.

        A point lies inside when it falls in some voxel. A box in voxels must lie inside
        whole: one that sticks out usually has its axes in another order. A box in millimetres need only
        overlap the volume, because along the axes of an oblique scan it may have to stick out.
        """
        size = np.array(shape, dtype=float)
        for number, (item, placed) in enumerate(zip(self.items, self.in_voxels(affine), strict=True)):
            if isinstance(placed, Point):
                at = np.array(placed.at)
                if bool(np.all((at >= -0.5) & (at < size - 0.5))):
                    continue
                where = f" (voxel index {_show(placed.at)})" * (item.space == "mm")
                raise PromptError(
                    f"{str(item).lstrip('+-')}{where}, item {number} of the prompt, "
                    f"lies outside the volume of shape {_show(shape)}. {_REMEDY[item.space]}"
                )
            low, high = np.array(placed.start), np.array(placed.stop)
            whole = bool(np.all((low >= -_ROUNDING_VOXELS) & (high <= size + _ROUNDING_VOXELS)))
            overlaps = bool(np.all((low < size) & (high > 0)))
            if not (whole or (item.space == "mm" and overlaps)):
                where = f" (voxels {_show(placed.start)} to {_show(placed.stop)})" * (item.space == "mm")
                how = "reaches out of" if overlaps else "lies outside"
                raise PromptError(
                    f"{item}{where}, item {number} of the prompt, {how} the volume of shape {_show(shape)}. "
                    f"{_REMEDY[item.space]}"
                )

    def _into(self, space: Space, matrix: np.ndarray) -> "Prompt":
        return Prompt(tuple(i if i.space == space else _mapped(i, matrix, space) for i in self.items))


_REMEDY = {
    "voxel": "Voxel indices are (i, j, k) along the stored axes, counted from 0, and a box is half-open "
    "[start, stop); for millimetres, say space='mm'.",
    "mm": "Millimetres are RAS+ world coordinates (x to the right, y to the front, z up); DICOM and ITK "
    "tools give LPS, where x and y have the other sign. For voxel indices, say space='voxel'.",
}


def _mapped(item: Item, matrix: np.ndarray, space: Space) -> Item:
    if isinstance(item, Point):
        return Point(_floats(matrix[:3, :3] @ item.at + matrix[:3, 3]), item.positive, space)
    low, high = item._edges()
    # The bounding box of an affine image needs no corners: every entry pulls one way or the other.
    ends = np.stack([matrix[:3, :3] * low, matrix[:3, :3] * high])
    return Box._from_edges(
        ends.min(axis=0).sum(axis=1) + matrix[:3, 3], ends.max(axis=0).sum(axis=1) + matrix[:3, 3], space
    )


def _triple(values: Iterable[float], what: str) -> Triple:
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise PromptError(f"{what} must be three numbers, not {values!r}: {error}.") from error
    if len(numbers) != 3:
        raise PromptError(f"{what} must be three numbers, (i, j, k) or (x, y, z), not {values!r}.")
    if not np.isfinite(numbers).all():
        raise PromptError(f"{what} must be finite, not {_show(numbers)}; check the transform it came from.")
    return numbers[0], numbers[1], numbers[2]


def _floats(values: np.ndarray) -> Triple:
    return float(values[0]), float(values[1]), float(values[2])


def _check_space(space: str) -> None:
    if space not in _SPACES:
        raise PromptError(f"unknown space {space!r}: a prompt is given in 'voxel' indices or in 'mm'.")


def _affine(matrix: np.ndarray) -> np.ndarray:
    matrix = np.asarray(matrix, dtype=float)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or not abs(np.linalg.det(matrix[:3, :3])) > 0:
        raise GeometryError(
            f"an affine must be a finite, invertible 4x4 matrix; got shape {matrix.shape}:\n{matrix}\n"
            "Pass grid.affine, or grid.to(other)."
        )
    return matrix


def _show(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in values) + ")"
