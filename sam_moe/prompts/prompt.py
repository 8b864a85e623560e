"""A prompt: all that is given for one target, in order, wherever the volume lies.

Its items are points and boxes (`items`), strokes and loops (`drawn`), in voxel indices or in millimetres.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sam_moe.errors import PromptError
from sam_moe.prompts.coordinates import Space, Triple, affine_of, check_space, floats, show
from sam_moe.prompts.drawn import Loop, Stroke
from sam_moe.prompts.items import Box, Point
from sam_moe.shapes import Float

__all__ = ["Box", "Item", "Loop", "Point", "Prompt", "Space", "Stroke", "Triple"]

_ROUNDING_VOXELS = 1e-6  # what a box may stick out after a trip through two affines

Item = Point | Box | Stroke | Loop


@dataclass(frozen=True)
class Prompt:
    """All that points at one target, in order: click *n* is item *n*. Immutable; equal by its items.

    Args:
        items: any of `Point`, `Box`, `Stroke` and `Loop`, each in voxel indices of the scan or in RAS+
            millimetres. None is a prompt that no model answers; negative ones alone give an empty mask.

    Raises:
        PromptError: for what is no item.

    >>> prompt = Prompt((Point((4, 5, 6)),)) + Point((9, 5, 6), positive=False)
    >>> print(prompt)
    +point (4, 5, 6), -point (9, 5, 6)
    """

    items: tuple[Item, ...] = ()

    def __post_init__(self) -> None:
        """Refuse anything that is no item."""
        object.__setattr__(self, "items", tuple(self.items))
        for number, item in enumerate(self.items):
            if not isinstance(item, Point | Box | Stroke | Loop):
                raise PromptError(
                    f"item {number} of the prompt is a {type(item).__name__}; expected Point((i, j, k)), "
                    "Box(start, stop), Stroke(points) or Loop(points)."
                )

    def __iter__(self) -> Iterator[Item]:
        """The items in the order they were given."""
        return iter(self.items)

    def __len__(self) -> int:
        """How many items were given."""
        return len(self.items)

    def __add__(self, item: Item) -> "Prompt":
        """A prompt of these items and one more at the end; this one stays as it is."""
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

    @property
    def shows_target(self) -> bool:
        """Whether any item lies on the target; one of negative items alone points at no target."""
        return any(item.positive for item in self.items)

    def upto(self, n: int) -> "Prompt":
        """The prompt as it stood after its first `n` items (undo keeps `len - 1`).

        Raises:
            PromptError: for a negative count.
        """
        if n < 0:
            raise PromptError(f"cannot keep {n} items of a prompt: give a count from 0 to {len(self)}.")
        return Prompt(self.items[:n])

    def map(self, matrix: Float[np.ndarray, "4 4"], space: Space = "voxel") -> "Prompt":
        """Carry every item through an affine into `space`, keeping their order.

        A box becomes the bounding box of its mapped corners: exact under flips and permutations, larger under
        rotations.

        Args:
            matrix: from the items' own coordinates (voxel centres, or millimetres) to those of the target
                space: `grid.to(other)` for voxel to voxel.
            space: of the result, "voxel" or "mm".

        Raises:
            PromptError: for items of two spaces, which one matrix cannot serve, or for no affine.
        """
        check_space(space)
        matrix = affine_of(matrix)
        spaces = {item.space for item in self.items}
        if len(spaces) > 1:
            raise PromptError(
                "this prompt mixes voxel indices and millimetres, which one matrix cannot map. "
                "First bring it into one space: prompt.in_mm(affine) or prompt.in_voxels(affine)."
            )
        return Prompt(tuple(item.moved(matrix, space) for item in self.items))

    def in_mm(self, affine: Float[np.ndarray, "4 4"]) -> "Prompt":
        """All items in RAS+ millimetres; voxel items are indices of the grid with this affine."""
        return self._into("mm", affine_of(affine))

    def in_voxels(self, affine: Float[np.ndarray, "4 4"]) -> "Prompt":
        """All items as voxel indices of the grid with this affine; items already in voxels stay as they are.

        To go from one grid's voxels to another's, use `map(grid.to(other))`.
        """
        return self._into("voxel", np.linalg.inv(affine_of(affine)))

    def check_inside(self, affine: Float[np.ndarray, "4 4"], shape: Sequence[int]) -> None:
        """Check that every item lies in the volume with this affine and shape.

        A point lies inside when it falls in some voxel. A box, a stroke or a loop in voxels must lie inside
        whole: one that sticks out usually has its axes in another order. In millimetres it need only
        overlap the volume, because along the axes of an oblique scan it may have to stick out.

        Raises:
            PromptError: for the first that does not, with its number and the remedy.
        """
        size = np.array(shape, dtype=float)
        for number, (item, placed) in enumerate(zip(self.items, self.in_voxels(affine), strict=True)):
            low, high = placed.places.min(axis=0) + 0.5, placed.places.max(axis=0) + 0.5
            if isinstance(placed, Point):
                overlaps = whole = bool(np.all((low >= 0) & (low < size)))
                where = f" (voxel index {show(placed.at)})"
            else:
                whole = bool(np.all((low >= -_ROUNDING_VOXELS) & (high <= size + _ROUNDING_VOXELS)))
                overlaps = bool(np.all((low < size) & (high > 0)))
                where = f" (voxels {show(floats(low))} to {show(floats(high))})"
            if not (whole or (item.space == "mm" and overlaps)):
                how = "reaches out of" if overlaps else "lies outside"
                raise PromptError(
                    f"{str(item).lstrip('+-')}{where * (item.space == 'mm')}, item {number} of the prompt, "
                    f"{how} the volume of shape {show(shape)}. {_REMEDY[item.space]}"
                )

    def _into(self, space: Space, matrix: np.ndarray) -> "Prompt":
        return Prompt(tuple(i if i.space == space else i.moved(matrix, space) for i in self.items))


_REMEDY = {
    "voxel": "Voxel indices are (i, j, k) along the stored axes, counted from 0, and a box is half-open "
    "[start, stop); for millimetres, say space='mm'.",
    "mm": "Millimetres are RAS+ world coordinates (x to the right, y to the front, z up); DICOM and ITK "
    "tools give LPS, where x and y have the other sign. For voxel indices, say space='voxel'.",
}
