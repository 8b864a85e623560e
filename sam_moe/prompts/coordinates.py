"""Places of prompts: triples of numbers, the two spaces they are given in, and the checks they all share."""

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from sam_moe.errors import GeometryError, PromptError

Space = Literal["voxel", "mm"]
Triple = tuple[float, float, float]

_SPACES = ("voxel", "mm")


def triple(values: Iterable[float], what: str) -> Triple:
    """Three finite numbers as floats.

    Raises:
        PromptError: for anything else; `what` is named in it.
    """
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise PromptError(f"{what} must be three numbers, not {values!r}: {error}.") from error
    if len(numbers) != 3:
        raise PromptError(f"{what} must be three numbers, (i, j, k) or (x, y, z), not {values!r}.")
    if not np.isfinite(numbers).all():
        raise PromptError(f"{what} must be finite, not {show(numbers)}; check the transform it came from.")
    return numbers[0], numbers[1], numbers[2]


def triples(rows: Iterable[Iterable[float]], what: str, least: int) -> tuple[Triple, ...]:
    """At least so many triples, as floats.

    Raises:
        PromptError: for fewer, or for what is no triple.
    """
    try:
        found = [*rows]
    except TypeError as error:
        raise PromptError(
            f"the points of {what} must be triples, ((i, j, k), …), not {rows!r}: {error}."
        ) from error
    if len(found) < least:
        raise PromptError(
            f"{what} of {len(found)} points is too short. Expected at least {least}, each (i, j, k) or "
            "(x, y, z)."
        )
    return tuple(triple(row, f"point {number} of {what}") for number, row in enumerate(found))


def floats(values: np.ndarray) -> Triple:
    """The three numbers of an array."""
    return float(values[0]), float(values[1]), float(values[2])


def check_space(space: str) -> None:
    """Raise PromptError for anything but voxel indices and millimetres."""
    if space not in _SPACES:
        raise PromptError(f"unknown space {space!r}: a prompt is given in 'voxel' indices or in 'mm'.")


def affine_of(matrix: np.ndarray) -> np.ndarray:
    """A finite, invertible 4x4 matrix.

    Raises:
        GeometryError: for anything else.
    """
    matrix = np.asarray(matrix, dtype=float)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or not abs(np.linalg.det(matrix[:3, :3])) > 0:
        raise GeometryError(
            f"an affine must be a finite, invertible 4x4 matrix; got shape {matrix.shape}:\n{matrix}\n"
            "Pass grid.affine, or grid.to(other)."
        )
    return matrix


def moved(matrix: np.ndarray, points: Sequence[Triple]) -> tuple[Triple, ...]:
    """Points carried through an affine."""
    return tuple(floats(row) for row in np.array(points) @ matrix[:3, :3].T + matrix[:3, 3])


def show(values: Sequence[float]) -> str:
    """A triple in messages: (4, 5.5, 6)."""
    return "(" + ", ".join(f"{value:.6g}" for value in values) + ")"
