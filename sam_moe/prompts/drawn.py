"""Strokes and loops: what a brush or a lasso draws over a scan, on the target or beside it.

A vertex is a place like a point's: `(i, j, k)` of the stored axes, voxel *centres* at whole numbers, or RAS+
millimetres. All of this is ours.
"""

from dataclasses import dataclass

import numpy as np

from sam_moe.errors import PromptError
from sam_moe.prompts.coordinates import Space, Triple, check_space, moved, show, triples
from sam_moe.shapes import Float

_UNEVEN = 0.3  # how far off one plane a loop's points may lie, as a share of how far they spread on it


@dataclass(frozen=True)
class Stroke:
    """A scribble: a line through its points in the order they were drawn.

    Args:
        points: one or more places, voxel indices (i, j, k) or RAS+ millimetres.
        positive: True on the target, False where the target is not.
        space: "voxel" or "mm".

    Raises:
        PromptError: for no points, or some that are not three finite numbers.

    >>> print(Stroke(((4, 5, 6), (9, 5, 6))))
    +stroke of 2 points, (4, 5, 6) to (9, 5, 6)
    """

    points: tuple[Triple, ...]
    positive: bool = True
    space: Space = "voxel"

    def __post_init__(self) -> None:
        """Normalise the points to floats, or raise PromptError naming the wrong one."""
        object.__setattr__(self, "points", triples(self.points, "a stroke", 1))
        check_space(self.space)

    @property
    def places(self) -> Float[np.ndarray, "n 3"]:
        """Its points as an array."""
        return np.array(self.points)

    def moved(self, matrix: Float[np.ndarray, "4 4"], space: Space) -> "Stroke":
        """The stroke carried through an affine."""
        return Stroke(moved(matrix, self.points), self.positive, space)

    def __str__(self) -> str:
        """Sign, number of points, the two ends and, for millimetres, the unit."""
        return _described(self.positive, "stroke", self.points, "to", self.space)


@dataclass(frozen=True)
class Loop:
    """A lasso: a closed curve on one slice or plane, filled; the last point is joined to the first.

    Args:
        points: three or more places, voxel indices (i, j, k) or RAS+ millimetres.
        positive: True around a part of the target, False around what is not.
        space: "voxel" or "mm".

    Raises:
        PromptError: for fewer points, points on one line, or off one plane.

    >>> print(Loop(((4, 5, 6), (9, 5, 6), (9, 9, 6)), positive=False))
    -loop of 3 points, (4, 5, 6) by (9, 9, 6)
    """

    points: tuple[Triple, ...]
    positive: bool = True
    space: Space = "voxel"

    def __post_init__(self) -> None:
        """Normalise the points to floats; a curve without area, or off one plane, is refused."""
        object.__setattr__(self, "points", triples(self.points, "a loop", 3))
        check_space(self.space)
        spread = _spread(self.places)
        if not spread[1] > 1e-6 * max(spread[0], 1e-12):
            raise PromptError(
                f"{self} encloses nothing: its points lie on one line. Expected a curve around the target on "
                "one slice; for a line along it give a Stroke."
            )
        if spread[2] > _UNEVEN * spread[1]:
            raise PromptError(
                f"{self} does not lie on one plane. Expected a curve drawn on one slice; give one loop for "
                "each slice."
            )

    def moved(self, matrix: Float[np.ndarray, "4 4"], space: Space) -> "Loop":
        """The loop carried through an affine, which keeps its plane; nothing is checked anew."""
        loop = object.__new__(Loop)
        object.__setattr__(loop, "points", moved(matrix, self.points))
        object.__setattr__(loop, "positive", self.positive)
        object.__setattr__(loop, "space", space)
        return loop

    @property
    def places(self) -> Float[np.ndarray, "n 3"]:
        """Its points as an array."""
        return np.array(self.points)

    def __str__(self) -> str:
        """Sign, number of points, first and last and, for millimetres, the unit."""
        return _described(self.positive, "loop", self.points, "by", self.space)


def _spread(places: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " 3"]:
    """How far points spread along the three axes in which they spread most, and least."""
    spread = np.linalg.svd(places - places.mean(axis=0), compute_uv=False)
    return np.asarray(spread / np.sqrt(len(places)))


def _described(positive: bool, what: str, points: tuple[Triple, ...], link: str, space: Space) -> str:
    ends = f"{show(points[0])} {link} {show(points[-1])}" if len(points) > 1 else show(points[0])
    return f"{'+' if positive else '-'}{what} of {len(points)} points, {ends}{' mm' * (space == 'mm')}"
