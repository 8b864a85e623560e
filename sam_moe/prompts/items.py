"""A point, a box: where a target lies, or where it does not, with the box that leaves its depth open.

A voxel index is `(i, j, k)` along the stored axes, counted from 0, and means the *centre* of that voxel.
Millimetres are RAS+ world coordinates. A voxel box is half-open, `[start, stop)`: its outer edges lie half a
voxel before the centre of `start` and half a voxel before the centre of `stop`. A box in millimetres is just
its edges. A box that is no more than one voxel thick along an axis, or not thick at all, is *flat*: drawn on
one slice, as in most viewers, it leaves the target's depth open. All of this is ours.
"""

from dataclasses import dataclass, replace

import numpy as np

from sam_moe.errors import PromptError
from sam_moe.prompts.coordinates import Space, Triple, affine_of, check_space, floats, moved, show, triple
from sam_moe.shapes import Float

_FLAT_VOXELS = 1 + 1e-3  # thickness of a flat box, with the rounding of a few affines


@dataclass(frozen=True)
class Point:
    """One click.

    Args:
        at: voxel index (i, j, k) along the scan's stored axes, fractions allowed; or RAS+ millimetres.
        positive: True on the target, False where the target is not.
        space: "voxel" or "mm".

    Raises:
        PromptError: for coordinates that are not three finite numbers, or an unknown space.

    >>> print(Point((40, 52, 17)))
    +point (40, 52, 17)
    """

    at: Triple
    positive: bool = True
    space: Space = "voxel"

    def __post_init__(self) -> None:
        """Normalise the coordinates to floats, or raise PromptError naming the wrong one."""
        object.__setattr__(self, "at", triple(self.at, "a point"))
        check_space(self.space)

    @property
    def places(self) -> Float[np.ndarray, "1 3"]:
        """Its place as an array."""
        return np.array([self.at])

    def moved(self, matrix: Float[np.ndarray, "4 4"], space: Space) -> "Point":
        """The point carried through an affine."""
        return Point(moved(matrix, (self.at,))[0], self.positive, space)

    def __str__(self) -> str:
        """Sign, coordinates and, for millimetres, the unit."""
        return f"{'+' if self.positive else '-'}point {show(self.at)}{' mm' * (self.space == 'mm')}"


@dataclass(frozen=True)
class Box:
    """A box around the target; the mask keeps to it and 15 % of its edges beyond.

    Args:
        start: the corner of the least coordinates, (i, j, k) of the first voxel or RAS+ millimetres.
        stop: the opposite corner. In voxels half-open, [start, stop): one voxel i is i to i + 1, and a side
            of no thickness lies on the nearest voxel ([12, 12] is [12, 13)). In millimetres plain edges.
        space: "voxel" or "mm".
        flat: whether it was drawn on one slice, which leaves the target's depth open; None recognises that by
            its thickness (`flat_axes`).

    Raises:
        PromptError: for a box with start beyond stop, corners that are not three finite numbers, or an
            unknown space.

    >>> print(Box((10, 10, 4), (20, 22, 9)))
    box (10, 10, 4) to (20, 22, 9)
    """

    start: Triple
    stop: Triple
    space: Space = "voxel"
    flat: bool | None = None

    def __post_init__(self) -> None:
        """Normalise the corners to floats; an inverted box is refused."""
        start, stop = triple(self.start, "a box's start"), triple(self.stop, "a box's stop")
        check_space(self.space)
        for axis, (low, high) in enumerate(zip(start, stop, strict=True)):
            if low > high:
                raise PromptError(
                    f"box from {show(start)} to {show(stop)} is inverted along axis {axis} "
                    f"({low:g} > {high:g}). A box is half-open [start, stop): stop must be greater "
                    "than start on all three axes; one voxel i is written i to i+1."
                )
        if self.space == "voxel":
            on = [low == high for low, high in zip(start, stop, strict=True)]
            start = floats(np.where(on, np.floor(np.add(start, 0.5)), start))
            stop = floats(np.where(on, np.add(start, 1), stop))
        object.__setattr__(self, "start", start)
        object.__setattr__(self, "stop", stop)

    @property
    def positive(self) -> bool:
        """True: a box holds its target."""
        return True

    @property
    def places(self) -> Float[np.ndarray, "2 3"]:
        """Its two corners, on the scale on which voxel centres are whole numbers."""
        return np.stack(self._edges())

    @property
    def centre(self) -> Triple:
        """The middle of the box in its own space; in voxels an index, often fractional."""
        low, high = self._edges()
        return floats((low + high) / 2)

    @property
    def size(self) -> Triple:
        """Edge lengths in the box's own unit: voxels or millimetres."""
        return floats(np.subtract(self.stop, self.start))

    def flat_axes(self, affine: Float[np.ndarray, "4 4"]) -> tuple[int, ...]:
        """The axes along which the box is flat in a scan with this affine: none, one, two (a line) or three.

        Axes of the box's own space: stored ones of a voxel box, world ones of a box in millimetres, where a
        voxel is as thick as the spacing of the stored axis nearest to the world's. `flat=True` makes the
        thinnest side flat however thick it is; `flat=False` none.
        """
        if self.flat is False:
            return ()
        sides = np.array(self.size)
        spacing = np.linalg.norm(affine_of(affine)[:3, :3], axis=0)
        if self.space == "mm":
            nearest = np.abs(affine[:3, :3] / spacing).argmax(axis=1)
            sides, spacing = sides / spacing[nearest], spacing[nearest]
        flat = sides <= _FLAT_VOXELS
        if self.flat and not flat.any():
            flat[(sides * spacing).argmin()] = True
        return tuple(np.flatnonzero(flat).tolist())

    def __str__(self) -> str:
        """Both corners and, for millimetres, the unit."""
        how = "flat " * (self.flat is True)
        return f"{how}box {show(self.start)} to {show(self.stop)}{' mm' * (self.space == 'mm')}"

    def _edges(self) -> tuple[np.ndarray, np.ndarray]:
        """Outer edges on the scale on which voxel *centres* are whole numbers."""
        shift = 0.5 if self.space == "voxel" else 0.0
        return np.subtract(self.start, shift), np.subtract(self.stop, shift)

    def moved(self, matrix: Float[np.ndarray, "4 4"], space: Space) -> "Box":
        """The bounding box of the mapped corners; what was flat stays so, though it be thicker there."""
        low, high = self._edges()
        # The bounding box of an affine image needs no corners: every entry pulls one way or the other.
        ends = np.stack([matrix[:3, :3] * low, matrix[:3, :3] * high])
        low = ends.min(axis=0).sum(axis=1) + matrix[:3, 3]
        high = ends.max(axis=0).sum(axis=1) + matrix[:3, 3]
        if space == "voxel":  # a side of no thickness lies on the nearest voxel
            on, nearest = high - low < 1e-9, np.floor((low + high) / 2 + 0.5)
            low, high = np.where(on, nearest - 0.5, low), np.where(on, nearest + 0.5, high)
        shift = 0.5 if space == "voxel" else 0.0
        box = Box(floats(low + shift), floats(high + shift), space)
        if self.space == space == "mm":  # no grid to measure a voxel's thickness by
            return replace(box, flat=self.flat)
        before = self.flat_axes(np.linalg.inv(matrix) if self.space == "mm" else np.eye(4))
        after = box.flat_axes(matrix if space == "mm" else np.eye(4))
        return replace(box, flat=self.flat if bool(before) == bool(after) else bool(before))
