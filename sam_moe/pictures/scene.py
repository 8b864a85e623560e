"""What a picture shows of a scene: axes turned to the patient's, and which slices, field and grey values."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from sam_moe.errors import GeometryError
from sam_moe.prompts.prompt import Prompt
from sam_moe.shapes import Float, Shaped
from sam_moe.space.volume import Volume

_MIN_FIELD_MM = 120.0
_ROOM = 2.6  # the field of view, in lengths of the target
# The median of a target in Hounsfield units, up to which a window serves: lung, soft tissue, the same
# with contrast agent, bone.
_AIR_HU = -1024
_HOUNSFIELD = (
    (-400.0, (-1350.0, 150.0)),
    (90.0, (-125.0, 225.0)),
    (300.0, (-160.0, 300.0)),
    (float("inf"), (-300.0, 1500.0)),
)
_WHOLE = 0.75  # a field larger than this share of the scan shows all of it
_AIR = 0.05  # up to this share of a slice's range, counted from its darkest voxel


@dataclass(frozen=True)
class Scene:
    """What one row shows: a scan, named answers on its grid, the prompt, and perhaps the truth.

    An answer is a mask, or better its probability: outlines at one half then run between coarse voxels.
    """

    scan: Volume
    masks: Mapping[str, Shaped[Tensor, "i j k"]]
    prompt: Prompt
    title: str
    truth: Shaped[Tensor, "i j k"] | None = None


@dataclass(frozen=True)
class Shown:
    """A scene whose axes were turned to grow to the right, front and top of the patient."""

    image: Shaped[np.ndarray, "x y z"]
    answers: dict[str, Shaped[np.ndarray, "x y z"]]  # outlined where they pass one half
    masks: dict[str, Shaped[np.ndarray, "x y z"]]  # where the answers exceed it
    truth: Shaped[np.ndarray, "x y z"] | None
    prompt: Prompt
    spacing_mm: tuple[float, float, float]
    stored: tuple[tuple[str, int, int], ...]  # of each axis its letter in the file, its sign, its first index
    title: str

    def stored_index(self, axis: int, index: int) -> str:
        """Where a slice is in the file, as one types it: "k = 17"."""
        letter, sign, first = self.stored[axis]
        return f"{letter} = {first + sign * index}"


def turned(scene: Scene) -> Shown:
    """Permute and flip the stored axes; nothing is interpolated."""
    grid = scene.scan.grid
    source = ["LPI".find(c) if c in "LPI" else "RAS".find(c) for c in grid.axcodes]
    axes = [source.index(world) for world in range(3)]
    signs = [1 if grid.axcodes[a] in "RAS" else -1 for a in axes]
    firsts = [0 if sign > 0 else grid.shape[a] - 1 for a, sign in zip(axes, signs, strict=True)]
    matrix = np.eye(4)
    matrix[:3, :3] = 0
    for world, (a, sign, first) in enumerate(zip(axes, signs, firsts, strict=True)):
        matrix[world, a], matrix[world, 3] = sign, first
    flipped = tuple(world for world, sign in enumerate(signs) if sign < 0)

    def turn(array: Tensor) -> np.ndarray:
        if tuple(array.shape) != grid.shape:
            raise GeometryError(
                f"a mask of shape {tuple(array.shape)} does not fit the scan on {grid}. Expected one value "
                "for each voxel of the scan."
            )
        values: np.ndarray = array.detach().cpu().numpy().transpose(axes)
        return np.flip(values, flipped)

    answers = {name: turn(mask) for name, mask in scene.masks.items()}
    return Shown(
        image=turn(scene.scan.array),
        answers=answers,
        masks={name: answer > 0.5 for name, answer in answers.items()},
        truth=None if scene.truth is None else turn(scene.truth) > 0,
        prompt=scene.prompt.in_voxels(grid.affine).map(matrix),
        spacing_mm=(grid.spacing_mm[axes[0]], grid.spacing_mm[axes[1]], grid.spacing_mm[axes[2]]),
        stored=tuple(("ijk"[a], sign, first) for a, sign, first in zip(axes, signs, firsts, strict=True)),
        title=scene.title,
    )


def middle_of(shown: Shown) -> tuple[int, int, int]:
    """The slices to show: through the first click that hits the truth, else where truth or answer is largest.

    Of nothing, amid the prompts.
    """
    if shown.truth is not None:
        for point in shown.prompt.points:
            x, y, z = (round(a) for a in point.at)
            if point.positive and shown.truth[x, y, z]:
                return x, y, z
    found = _any([shown.truth]) if shown.truth is not None else _any(shown.masks.values())
    if found is not None:
        areas = (found.sum(axis=tuple(other for other in range(3) if other != axis)) for axis in range(3))
        largest = (np.flatnonzero(area == area.max()) for area in areas)
        x, y, z = (int(ties[len(ties) // 2]) for ties in largest)
        return x, y, z
    centre = _corners(shown.prompt).mean(axis=0) if len(shown.prompt) else np.array(shown.image.shape) / 2
    x, y, z = (int(np.clip(round(c), 0, n - 1)) for c, n in zip(centre, shown.image.shape, strict=True))
    return x, y, z


def field_of(
    shown: Shown, middle: tuple[int, int, int]
) -> tuple[Float[np.ndarray, " 3"], Float[np.ndarray, " 3"]]:
    """A cube in millimetres around target and prompts; the whole scan where that is hardly more.

    Moved, not grown, to show as much of the body as fits: beside a gland under the skin there is more to see
    inside than outside.
    """
    shape, spacing = np.array(shown.image.shape), np.array(shown.spacing_mm)
    whole_low, whole_high = -spacing / 2, (shape - 0.5) * spacing
    places = [_corners(shown.prompt)] if len(shown.prompt) else []
    found = _any([*shown.masks.values(), shown.truth])
    if found is not None:
        kept = [np.flatnonzero(found.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
        places.append(np.array([[k[0] for k in kept], [k[-1] for k in kept]]))
    centre, half = (whole_low + whole_high) / 2, float((whole_high - whole_low).max()) / 2
    if places:
        corners = np.concatenate(places) * spacing
        low, high = corners.min(axis=0), corners.max(axis=0)
        near = max(_MIN_FIELD_MM, _ROOM * float((high - low).max())) / 2
        if near < _WHOLE * half:
            body = _body(shown, middle[2])
            first, last = np.minimum(body[0] * spacing, low), np.maximum(body[1] * spacing, high)
            room = np.maximum((last - first) / 2 - near, 0)
            centre = np.clip((low + high) / 2, (first + last) / 2 - room, (first + last) / 2 + room)
            half = near
    return centre - half, centre + half


def _body(shown: Shown, slice_: int) -> Float[np.ndarray, "2 3"]:
    """First and last edge, as indices, of what is not air in an axial slice; upwards all there is."""
    image = shown.image[:, :, slice_].astype(np.float64)
    edges = np.array([np.zeros(3), shown.image.shape]) - 0.5
    tissue = image > image.min() + _AIR * (image.max() - image.min())
    for axis in (0, 1) if tissue.any() else ():
        inside = np.flatnonzero(tissue.any(axis=1 - axis))
        edges[:, axis] = inside[0] - 0.5, inside[-1] + 0.5
    return edges


def _corners(prompt: Prompt) -> Float[np.ndarray, "n 3"]:
    """All points, the vertices of what is drawn and both corners of all boxes, as voxel indices."""
    return np.concatenate([np.empty((0, 3)), *(item.places for item in prompt)])


def _any(masks: Iterable[Shaped[np.ndarray, "x y z"] | None]) -> Shaped[np.ndarray, "x y z"] | None:
    """The union of masks, or None where there is nothing in them."""
    found = [mask for mask in masks if mask is not None and mask.any()]
    return np.logical_or.reduce(found) if found else None


def window_of(shown: Shown, middle: tuple[int, ...]) -> tuple[float, float]:
    """What is shown as black and as white: Hounsfield windows for CT, else percentiles of what is not air."""
    slices = [shown.image.take(middle[axis], axis)[::2, ::2].ravel() for axis in range(3)]
    values = np.concatenate(slices).astype(np.float64)
    if shown.image.min() <= _AIR_HU + 124 and values.max() > 0:
        inside = _any(shown.masks.values())
        target = float(np.median(shown.image[inside])) if inside is not None else 0.0
        return next(window for limit, window in _HOUNSFIELD if target < limit)
    tissue = values[values > values.min() + 0.02 * (values.max() - values.min())]
    low, high = np.percentile(tissue if len(tissue) else values, (1, 99.5))
    return float(low), float(max(high, low + 1e-6))
