"""Where to look: the region of interest that a prompt asks for, and what lies in it."""

import logging

import numpy as np
from torch import Tensor

from sam_moe.errors import PromptError
from sam_moe.prompts.prompt import Prompt
from sam_moe.registry import Preprocessing
from sam_moe.shapes import Bool, Float
from sam_moe.space.grid import Grid

log = logging.getLogger(__name__)

# A prompt whose items all lie within this share of a region needs no other region.
_COMFORT = 0.9
# A mask keeps to its box and this share of the edges beyond.
_BEYOND = 0.15
# Of a region, that a box must span at least for its inside to be seen.
_LEAST_VOXELS = 4


def region_for(prompt: Prompt, preprocessing: Preprocessing) -> Grid:
    """The region for a prompt in millimetres; no ground truth is ever needed (ours).

    Boxes decide the zoom: the region is coarser than `spacing_mm` where they are larger than `box_fill` of
    it, and finer where they are smaller, within `zoom_min` and `zoom_max`. Without a box the first positive
    click is the centre, unless later ones lie too far out for that; then all positive clicks are treated as
    a box.
    """
    check_positive(prompt)
    spans = [np.stack([box.start, box.stop]) for box in prompt.boxes]
    positive = [np.array(point.at) for point in prompt.points if point.positive]
    if not spans:
        clicked = region_at(positive[0], preprocessing, preprocessing.click_zoom)
        if covers(clicked, prompt):
            return clicked
    corners = np.concatenate([*spans, *([p] for p in positive)])
    low, high = corners.min(axis=0), corners.max(axis=0)
    shape = np.array(preprocessing.region_shape)
    seen = shape > 1  # across a slice no zoom reaches farther
    edges_mm = shape[seen] * preprocessing.spacing_mm
    zoom = float(((high - low)[seen] / (preprocessing.box_fill * edges_mm)).max(initial=0))
    if not spans:
        zoom = max(zoom, preprocessing.click_zoom)
    return region_at((low + high) / 2, preprocessing, zoom)


def home_of(prompt: Prompt, preprocessing: Preprocessing) -> Grid:
    """Where a prompt in millimetres is looked at first; of negative points alone, around the first."""
    if prompt.shows_target:
        return region_for(prompt, preprocessing)
    return region_at(np.array(prompt.points[0].at), preprocessing, preprocessing.click_zoom)


def check_positive(prompt: Prompt) -> None:
    """Raise PromptError for a prompt of negative items alone."""
    if not prompt.shows_target:
        raise PromptError(
            "a prompt of negative points alone does not say what to segment (nor of negative strokes and "
            "loops). Add a positive point on the target or a box around it."
        )


def region_at(centre_mm: Float[np.ndarray, "3"], preprocessing: Preprocessing, zoom: float) -> Grid:
    """The region around a centre; a zoom beyond the card's limits is brought back to them."""
    zoom = min(max(zoom, preprocessing.zoom_min), preprocessing.zoom_max)
    spacing = preprocessing.spacing_mm * zoom
    return Grid.around(centre_mm, preprocessing.region_shape, (spacing,) * 3)


def wider(region: Grid, preprocessing: Preprocessing) -> Grid | None:
    """The region around the same centre, 1.6 times as coarse; None where that is beyond the card's limit."""
    zoom = region.spacing_mm[0] / preprocessing.spacing_mm
    if zoom * 1.01 > preprocessing.zoom_max:
        return None
    return region_at(region.world_of([n // 2 for n in region.shape]), preprocessing, zoom * 1.6)


def covers(region: Grid, prompt: Prompt) -> bool:
    """Whether every item of a prompt in millimetres lies well inside the region."""
    boxes = [end for box in prompt.boxes for end in (box.start, box.stop)]
    ends = [*boxes, *(point.at for point in prompt.points)]
    if not ends:
        return True
    middle = (np.array(region.shape) - 1) / 2
    reach = _COMFORT * np.array(region.shape) / 2
    places = np.array(ends)  # at once: one by one takes ms a click
    return not (np.abs(region.index_of(places) - middle) > reach).any()


def bounds_of(prompt: Prompt) -> Grid | None:
    """The box that the mask of a prompt in millimetres keeps to; None where no box bounds the target.

    It goes around all boxes, and a little beyond: people's boxes are off by up to a tenth of their edges. On
    the validation cases no mask reaches further (benchmarks/LOG.md); where a box is smaller than the finest
    region can show, it would. With a positive point outside, the target does reach further.
    """
    if not prompt.boxes:
        return None
    low = np.min([box.start for box in prompt.boxes], axis=0)
    high = np.max([box.stop for box in prompt.boxes], axis=0)
    low, high = low - _BEYOND * (high - low), high + _BEYOND * (high - low)
    clicks = np.array([point.at for point in prompt.points if point.positive]).reshape(-1, 3)
    if ((clicks < low) | (clicks > high)).any():
        return None
    affine = np.diag([*(high - low), 1.0])
    affine[:3, 3] = (low + high) / 2
    return Grid(affine, (1, 1, 1))


def warn_of_boxes(prompt: Prompt, region: Grid, model_id: str) -> None:
    """Warn of boxes, in millimetres, that the region does not hold, or whose inside it is too coarse for."""
    if not prompt.boxes:
        return
    edges = np.array([end for box in prompt.boxes for end in (box.start, box.stop)])
    index, shape = region.index_of(edges), np.array(region.shape)
    if not ((index > -1.5) & (index < shape + 0.5))[:, shape > 1].all():
        log.warning(
            "the box is larger than the largest region of %s, %.0f mm; what lies outside is left out",
            model_id,
            region.extent_mm[0],
        )
    widest = float(np.max([box.size for box in prompt.boxes]))
    if widest < _LEAST_VOXELS * region.spacing_mm[0]:
        log.warning(
            "the box spans %.3g mm, and %s sees voxels of %.3g mm at its finest: its mask keeps to the box, "
            "but hardly shows what is in it",
            widest,
            model_id,
            region.spacing_mm[0],
        )


def touches_border(inside: Bool[Tensor, "l m n"], region: Grid, scan: Grid, share: float = 0.004) -> bool:
    """Whether a mask (of any resolution) runs into a face of its region although the scan goes on behind it.

    A face counts when more than `share` of it is covered, so that a stray voxel does not; those of a slice,
    a single voxel apart, do not count.
    """
    size = np.array(region.shape)
    for axis in np.flatnonzero(size > 1).tolist():
        for end, outside in ((0, -1), (-1, size[axis])):
            beyond = (size - 1) / 2
            beyond[axis] = outside
            goes_on = scan.inside(scan.index_of(region.world_of(beyond)))
            if goes_on and inside.select(axis, end).float().mean().item() > share:
                return True
    return False
