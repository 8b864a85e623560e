"""Flat boxes, strokes and loops lowered to points and boxes, by rules with names.

No weights of ours learnt a flat box, a stroke or a loop; a click and a box they did. Which rule is best is
measured (benchmarks/quality/flat_prompts.py), not believed. All of this is ours.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from sam_moe.config import Settings
from sam_moe.errors import PromptError
from sam_moe.prompts.coordinates import floats
from sam_moe.prompts.drawn import Loop, Stroke
from sam_moe.prompts.items import Box, Point
from sam_moe.prompts.prompt import Prompt
from sam_moe.shapes import Bool, Float

FlatBoxRule = Literal["middle", "three", "deep", "box"]
StrokeRule = Literal["middle", "three", "five", "seven"]
LoopRule = Literal["deepest", "three", "box"]

_OUTSIDE = (
    "nothing of the {} lies inside the scan. Expected it to be drawn over the scan; check its units and axes."
)
_COUNTS = {"middle": 1, "three": 3, "five": 5, "seven": 7}
_SAMPLES = 211  # places looked at along a stroke; a multiple of the counts would put none in the middle
_RASTER = 48  # places looked at inside a loop, along each of its two axes
_VERTICES = 400  # of a loop; more are thinned out


class Lowering(Settings):
    """The rules by which flat boxes, strokes and loops become points and boxes, which models know.

    Raises:
        pydantic.ValidationError: for a rule that does not exist.

    >>> Lowering(flat_box="box").stroke
    'middle'
    """

    flat_box: FlatBoxRule = Field(
        "three",
        description="A box drawn on one slice: middle, a click in its middle; three, that and two a third of "
        "its longer side away; deep, a box as deep as wide; box, as it is, one slice thick.",
    )
    stroke: StrokeRule = Field(
        "middle", description="A scribble: so many clicks spread along it; middle, one half-way."
    )
    loop: LoopRule = Field(
        "deepest",
        description="A lasso: deepest, a click where it is farthest from the curve; three, that and two on "
        "either side; box, that and a box around the curve, as deep as wide (a negative one: deepest).",
    )


def lower(
    prompt: Prompt, affine: Float[np.ndarray, "4 4"], shape: Sequence[int], rules: Lowering | None = None
) -> Prompt:
    """The same prompt in millimetres, of points and boxes alone; `affine` and `shape` are the scan's.

    A prompt of points and three-dimensional boxes is `prompt.in_mm(affine)`. A box that is flat along two
    axes (a line) or three (a voxel) becomes a click in its middle, whatever the rule. A box that is one slice
    thick in a scan of one slice is no flat box: there is no more depth. Of a stroke or a loop in millimetres
    that reaches out of the scan, what lies inside counts.

    Raises:
        PromptError: for a stroke or a loop of which nothing lies inside the scan.
    """
    scan = _Scan(affine, shape)
    rules = rules or Lowering()
    lowered: list[Point | Box] = []
    for item in prompt:
        if isinstance(item, Point):
            lowered += Prompt((item,)).in_mm(affine).points
        elif isinstance(item, Stroke):
            lowered += _stroke(
                item.moved(affine, "mm") if item.space == "voxel" else item, scan, rules.stroke
            )
        elif isinstance(item, Loop):
            lowered += _loop(item.moved(affine, "mm") if item.space == "voxel" else item, scan, rules.loop)
        elif axes := scan.flat_axes(item):
            lowered += _flat_box(item, axes, scan, rules.flat_box)
        else:
            lowered += Prompt((scan.thickened(item),)).in_mm(affine).boxes
    return Prompt(tuple(lowered))


class _Scan:
    """The scan's grid, as far as prompts need it."""

    def __init__(self, affine: Float[np.ndarray, "4 4"], shape: Sequence[int]) -> None:
        self.affine, self.shape = affine, np.array(shape)
        self.spacing = np.linalg.norm(affine[:3, :3], axis=0)
        self.inverse = np.linalg.inv(affine)

    def stored(self, box: Box) -> list[int]:
        """The stored axis that each of the box's own axes runs along, or nearest to."""
        if box.space == "voxel":
            return [0, 1, 2]
        return [int(axis) for axis in np.abs(self.affine[:3, :3] / self.spacing).argmax(axis=1)]

    def flat_axes(self, box: Box) -> tuple[int, ...]:
        """Along which of its own axes a box is flat, where the scan has more slices than that one."""
        stored = self.stored(box)
        return tuple(axis for axis in box.flat_axes(self.affine) if self.shape[stored[axis]] > 1)

    def thickened(self, box: Box) -> Box:
        """A box without thickness along an axis of one slice, made as thick as that slice."""
        if min(box.size) > 0:
            return box
        half = np.where(np.equal(box.size, 0), self.spacing[self.stored(box)] / 2, 0)
        return Box(floats(box.start - half), floats(box.stop + half), box.space, flat=False)

    def holds(self, places_mm: Float[np.ndarray, "n 3"]) -> Bool[np.ndarray, " n"]:
        """Which of the places lie in the scan."""
        index = places_mm @ self.inverse[:3, :3].T + self.inverse[:3, 3]
        return np.asarray(((index >= -0.5) & (index < self.shape - 0.5)).all(axis=1))

    def clamped(self, place_mm: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " 3"]:
        """The place itself, or of one outside the scan the nearest voxel."""
        index = self.inverse[:3, :3] @ place_mm + self.inverse[:3, 3]
        near = index.clip(0, self.shape - 1)
        return (
            place_mm if np.abs(near - index).max() <= 0.5 else self.affine[:3, :3] @ near + self.affine[:3, 3]
        )

    def spacing_along(self, box: Box) -> Float[np.ndarray, " 3"]:
        """Millimetres that one unit of each of the box's axes is long."""
        return self.spacing if box.space == "voxel" else np.ones(3)


def _flat_box(box: Box, axes: tuple[int, ...], scan: _Scan, rule: FlatBoxRule) -> list[Point | Box]:
    middle = np.array(box.centre)
    if rule == "box" and len(axes) == 1:
        return [*Prompt((scan.thickened(box),)).in_mm(scan.affine).boxes]
    wide_mm = np.array(box.size) * scan.spacing_along(box)
    if rule == "deep" and len(axes) == 1:
        (axis,) = axes
        deep = np.delete(wide_mm, axis).mean() / scan.spacing_along(box)[axis]
        low, high = box.places
        low[axis], high[axis] = middle[axis] - deep / 2, middle[axis] + deep / 2
        if box.space == "voxel":
            low, high = low.clip(-0.5, scan.shape - 0.5), high.clip(-0.5, scan.shape - 0.5)
        shift = 0.5 if box.space == "voxel" else 0
        return [
            *Prompt((Box(floats(low + shift), floats(high + shift), box.space),)).in_mm(scan.affine).boxes
        ]
    places = [middle]
    if rule == "three" and len(axes) < 3:
        longest = int(np.where(np.isin(range(3), axes), -1, wide_mm).argmax())
        reach = np.zeros(3)
        reach[longest] = box.size[longest] / 3
        places += [middle - reach, middle + reach]
    world = Prompt(tuple(Point(floats(place), True, box.space) for place in places)).in_mm(scan.affine)
    return [Point(floats(scan.clamped(np.array(point.at))), True, "mm") for point in world.points]


def _stroke(stroke: Stroke, scan: _Scan, rule: StrokeRule) -> list[Point | Box]:
    """Points on the line, each in the middle of an equal share of its length."""
    places = stroke.places
    steps = np.linalg.norm(np.diff(places, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    at = np.linspace(0, along[-1], _SAMPLES)
    line = np.stack([np.interp(at, along, places[:, axis]) for axis in range(3)], axis=1)
    inside = line[scan.holds(line)]
    if not len(inside):
        raise PromptError(_OUTSIDE.format(stroke))
    count = _COUNTS[rule]
    chosen = ((np.arange(count) + 0.5) / count * (len(inside) - 1)).round().astype(int)
    # The middle first: a region is centred on the first positive click
    middle_first = sorted(chosen.tolist(), key=lambda place: abs(place - (len(inside) - 1) / 2))
    return [Point(floats(inside[place]), stroke.positive, "mm") for place in dict.fromkeys(middle_first)]


def _loop(loop: Loop, scan: _Scan, rule: LoopRule) -> list[Point | Box]:
    """The deepest place in the loop, and what a rule asks for beside it."""
    inside, depth = _filled(loop.places[:: max(1, len(loop.points) // _VERTICES)])
    held = scan.holds(inside)
    inside, depth = inside[held], depth[held]
    if not len(inside):
        raise PromptError(_OUTSIDE.format(loop))
    ties = inside[depth >= depth.max() * (1 - 1e-6)]
    deepest = ties[np.linalg.norm(ties - ties.mean(axis=0), axis=1).argmin()]
    found: list[Point | Box] = [Point(floats(deepest), loop.positive, "mm")]
    if rule == "three":
        # Half as deep at least: farthest from the first, then farthest from both
        deep = inside[depth >= depth.max() / 2]
        for _ in range(2):
            taken = np.array([item.at for item in found if isinstance(item, Point)])
            apart = np.linalg.norm(deep[:, None] - taken[None], axis=2).min(axis=1)
            found.append(Point(floats(deep[apart.argmax()]), loop.positive, "mm"))
    if rule == "box" and loop.positive:
        low, high = loop.places.min(axis=0), loop.places.max(axis=0)
        thin = int((high - low).argmin())
        deep_mm = np.delete(high - low, thin).mean()
        low[thin], high[thin] = deepest[thin] - deep_mm / 2, deepest[thin] + deep_mm / 2
        found = [Box(floats(low), floats(high), "mm"), *found]
    return found


def _filled(
    curve: Float[np.ndarray, "n 3"],
) -> tuple[Float[np.ndarray, "m 3"], Float[np.ndarray, " m"]]:
    """Places inside a closed curve, on the plane nearest to it, and how far each is from the curve."""
    centre = curve.mean(axis=0)
    axes = np.linalg.svd(curve - centre, full_matrices=False)[2][:2]
    flat = (curve - centre) @ axes.T
    steps = (np.arange(_RASTER) + 0.5) / _RASTER
    low, high = flat.min(axis=0), flat.max(axis=0)
    raster = np.stack(np.meshgrid(*(low + (high - low) * steps[:, None]).T, indexing="ij"), axis=-1).reshape(
        -1, 2
    )
    start, stop = flat, np.roll(flat, -1, axis=0)
    at = raster[:, None]
    # Inside by the even-odd rule: a ray to the right crosses the curve an odd number of times
    crosses = (start[:, 1] > at[..., 1]) != (stop[:, 1] > at[..., 1])
    rise = np.where(stop[:, 1] == start[:, 1], 1.0, stop[:, 1] - start[:, 1])
    right = start[:, 0] + (at[..., 1] - start[:, 1]) / rise * (stop[:, 0] - start[:, 0]) > at[..., 0]
    inside = (crosses & right).sum(axis=1) % 2 == 1
    edge = stop - start
    length = (edge**2).sum(axis=1).clip(1e-12)
    share = (((raster[inside, None] - start) * edge).sum(axis=2) / length).clip(0, 1)
    off = raster[inside, None] - (start + share[..., None] * edge)
    depth = np.sqrt((off**2).sum(axis=2).min(axis=1))
    return centre + raster[inside] @ axes, depth
