"""The simulated user: clicks, boxes, scribbles and lassos as a person who knows the truth would give them.

Masks are boolean volumes; coordinates are their voxel indices. The same generator state gives the same
prompts; nothing else is random.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from sam_moe.errors import GeometryError, PromptError
from sam_moe.prompts.prompt import Box, Point, Triple
from sam_moe.shapes import Bool

Mask = Bool[np.ndarray, "_ _ _"]
Strategy = Literal["largest-error", "random"]

_ISOTROPIC: Triple = (1.0, 1.0, 1.0)


def centre_point(mask: Mask, spacing_mm: Triple = _ISOTROPIC) -> Point:
    """A positive click on the deepest voxel of the mask's largest component.

    The click of the CVPR 2025 interactive segmentation challenge (Euclidean distance transform of the largest
    26-connected component), except that depth is measured in millimetres and that of equally deep voxels the
    one nearest to their middle is taken: half-way along a tube, not at its end. Outside the volume counts as
    background; of equally large components the first in memory order is taken.
    """
    return Point(_deepest(_largest_part(_not_empty(mask)), spacing_mm))


def next_click(
    truth: Mask,
    prediction: Mask,
    rng: np.random.Generator | None = None,
    spacing_mm: Triple = _ISOTROPIC,
    strategy: Strategy = "largest-error",
) -> Point | None:
    """The click that mends the prediction, or None where there is nothing to mend.

    Positive in tissue the prediction missed, negative in tissue it made up. `largest-error` takes the deepest
    voxel of the largest error component, missed and false tissue apart, so that the click's sign holds for
    all of it; a person would look there first. `random` takes any wrong voxel and needs `rng`.
    """
    if truth.shape != prediction.shape:
        raise GeometryError(
            f"the truth has shape {truth.shape} and the prediction {prediction.shape}; compare them on one "
            "grid (resample_labels(prediction, onto=truth.grid))."
        )
    if strategy not in ("largest-error", "random"):
        raise PromptError(f"unknown click strategy {strategy!r}; choose 'largest-error' or 'random'.")
    missed, false = truth & ~prediction, prediction & ~truth
    if not (missed.any() or false.any()):
        return None
    if strategy == "random":
        if rng is None:
            raise PromptError("random clicks need a generator: pass rng=np.random.default_rng(seed).")
        at = _any_voxel(missed | false, rng)
    else:
        at = _deepest(_larger(missed, false), spacing_mm)
    return Point(at, positive=bool(truth[tuple(int(index) for index in at)]))


def largest_error(truth: Mask, prediction: Mask) -> tuple[Mask, bool] | None:
    """The largest error of a prediction, on the whole grid, and whether its tissue was missed; None without.

    Missed and false tissue apart, as in `next_click`.
    """
    missed, false = truth & ~prediction, prediction & ~truth
    if not (missed.any() or false.any()):
        return None
    part = _larger(missed, false)
    error = np.zeros_like(truth)
    where = tuple(slice(at, at + n) for at, n in zip(part.corner, part.mask.shape, strict=True))
    error[where] = part.mask
    first = tuple(int(index) for index in np.argwhere(error)[0])
    return error, bool(truth[first])


def challenge_click(truth: Mask, prediction: Mask) -> Point | None:
    """The next click of the CVPR 2025 interactive challenge, to the voxel; None where nothing is to mend.

    Its `CVPR25_iter_eval.py`: missed and false tissue together make the errors; the click falls on the
    maximum of the Euclidean distance transform, in voxels whatever the spacing, of the largest 26-connected
    one. Of equally deep voxels NumPy's old generator with seed 42 draws one, in (k, j, i) order. The click
    has its own voxel's sign: where missed and false tissue touch, it holds for a part of the error only.
    """
    from scipy import ndimage

    if truth.shape != prediction.shape:
        raise GeometryError(
            f"the truth has shape {truth.shape} and the prediction {prediction.shape}. Expected one grid; "
            "resample_labels(prediction, onto=truth.grid) brings it over."
        )
    error = truth ^ prediction
    if not error.any():
        return None
    part = _largest_part(error.transpose())
    depth = ndimage.distance_transform_edt(np.pad(part.mask, 1))[1:-1, 1:-1, 1:-1]
    deepest = np.argwhere(depth == depth.max())
    chosen = deepest[np.random.RandomState(42).choice(len(deepest))] + part.corner
    at = _triple(chosen[::-1])
    return Point(at, positive=bool(truth[tuple(int(index) for index in at)]))


def box_around(
    mask: Mask, rng: np.random.Generator | None = None, jitter: float = 0.0, margin: int = 0
) -> Box:
    """The half-open voxel box around a mask, as a hurried person would draw it.

    `margin` widens every side by so many voxels. `jitter` then moves each side by a whole number of voxels,
    uniform within that share of the box's edge (0.1: up to a tenth in or out), and needs `rng`. The box
    stays in the volume and keeps at least one voxel of width.
    """
    if jitter < 0 or margin < 0:
        raise PromptError(f"jitter and margin must not be negative; got jitter={jitter}, margin={margin}.")
    if jitter > 0 and rng is None:
        raise PromptError("a jittered box needs a generator: pass rng=np.random.default_rng(seed).")
    _not_empty(mask)
    rows = [np.flatnonzero(mask.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    start = np.array([row[0] for row in rows]) - margin
    stop = np.array([row[-1] for row in rows]) + 1 + margin
    if jitter > 0 and rng is not None:
        reach = np.floor(jitter * (stop - start)).astype(int)
        start = start + rng.integers(-reach, reach + 1)
        stop = stop + rng.integers(-reach, reach + 1)
    start = np.clip(start, 0, np.array(mask.shape) - 1)
    stop = np.clip(np.maximum(stop, start + 1), 1, mask.shape)
    return Box(_triple(start), _triple(stop))


def _not_empty(mask: Mask) -> Mask:
    if not mask.any():
        raise PromptError(
            f"the mask of shape {mask.shape} is empty: there is nothing to click on. "
            "Leave this target out, or check the label value it was made from."
        )
    return mask


@dataclass(frozen=True)
class _Part:
    """A connected part of a mask, cut to its bounding box; `corner` is where the cut begins."""

    mask: Mask
    corner: tuple[int, ...]
    voxels: int


def _largest_part(mask: Mask) -> _Part:
    from scipy import ndimage

    if not mask.any():
        return _Part(mask, (0, 0, 0), 0)
    bounds = ndimage.find_objects(mask.astype(np.uint8))[0]
    labels, count = ndimage.label(mask[bounds], structure=np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    largest = int(sizes.argmax()) + 1
    cut = ndimage.find_objects(labels, max_label=largest)[largest - 1]
    corner = tuple(outer.start + inner.start for outer, inner in zip(bounds, cut, strict=True))
    return _Part(labels[cut] == largest, corner, int(sizes.max()))


def _larger(missed: Mask, false: Mask) -> _Part:
    """The largest part of two kinds of error; of two equally large ones the missed one."""
    return max(_largest_part(missed), _largest_part(false), key=lambda part: part.voxels)


def _deepest(part: _Part, spacing_mm: Triple) -> Triple:
    from scipy import ndimage

    depth_mm = ndimage.distance_transform_edt(np.pad(part.mask, 1), sampling=spacing_mm)
    deepest = np.argwhere(depth_mm >= depth_mm.max() - 1e-6)
    off_mm = (deepest - deepest.mean(axis=0)) * spacing_mm
    return _triple(deepest[(off_mm**2).sum(axis=1).argmin()] - 1 + part.corner)


def _any_voxel(mask: Mask, rng: np.random.Generator) -> Triple:
    chosen = np.flatnonzero(mask)[rng.integers(np.count_nonzero(mask))]
    return _triple(np.array(np.unravel_index(chosen, mask.shape)))


def _triple(values: np.ndarray) -> Triple:
    return float(values[0]), float(values[1]), float(values[2])
