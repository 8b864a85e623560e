"""Where to look: the region of interest that a prompt asks for, and its intensities cut from the scan."""

import logging

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sam_moe.errors import PromptError
from sam_moe.prompts.prompt import Prompt
from sam_moe.registry import Preprocessing
from sam_moe.shapes import Bool, Float, Int
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume, resample

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
    edge_mm = preprocessing.region_voxels * preprocessing.spacing_mm
    zoom = float((high - low).max()) / (preprocessing.box_fill * edge_mm)
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
    return Grid.around(centre_mm, (preprocessing.region_voxels,) * 3, (spacing,) * 3)


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
    region can show, it would. A positive point outside says that the target does reach further.
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
    index = region.index_of(edges)
    if not ((index > -1.5) & (index < np.array(region.shape) + 0.5)).all():
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


def cut(scan: Volume, region: Grid, spacing_mm: float, fill: float) -> Float[Tensor, "s s s"]:
    """Take the region's intensities from the scan.

    At the model's own spacing this is plain trilinear interpolation, as in the reference's preprocessing. A
    region that is coarser is cut from the scan averaged over blocks, as long as these stay no coarser than
    the model's own spacing would have seen them: noise that no full-size region ever showed must not alias
    into a zoomed one (ours).
    """
    wanted = region.spacing_mm[0]
    native = np.array(scan.grid.spacing_mm)
    blocks = np.floor(wanted / np.maximum(native, spacing_mm) + 1e-6).clip(1).astype(int)
    if (blocks > 1).any():
        scan = block_mean(scan, region, blocks)
    return resample(scan, onto=region, fill=fill).array


def block_mean(scan: Volume, region: Grid, blocks: Int[np.ndarray, "3"]) -> Volume:
    """Average the scan over blocks of voxels where the region can see them.

    Blocks are counted from the region's centre, not from the first stored voxel: a flipped scan has the same
    ones. A block that reaches out of the scan repeats the scan's border there.
    """
    shape = np.array(scan.grid.shape)
    size = np.minimum(blocks, shape)
    edges = scan.grid.index_of(np.vstack([region.corners_mm, region.corners_mm.mean(axis=0)])) + 0.5
    anchor = _nearest_edge(edges[-1], scan.grid)
    seen = (edges[:-1] - anchor) / size  # in blocks from the anchor
    least, most = np.floor(-anchor / size), np.ceil((shape - anchor) / size)
    first = (np.floor(seen.min(axis=0)) - 1).clip(least, most - 1)
    last = (np.ceil(seen.max(axis=0)) + 1).clip(first + 1, most)
    start, stop = (anchor + first * size).astype(int), (anchor + last * size).astype(int)
    mean = _block_means(scan.array, start, stop, size)
    affine = scan.grid.affine.copy()
    affine[:3, 3] = scan.grid.world_of(start + (size - 1) / 2)
    affine[:3, :3] *= size
    return Volume(mean, Grid(affine, (mean.shape[0], mean.shape[1], mean.shape[2])))


def _block_means(
    array: Tensor, start: Int[np.ndarray, "3"], stop: Int[np.ndarray, "3"], size: Int[np.ndarray, "3"]
) -> Float[Tensor, "x y z"]:
    """The means of the blocks from `start` to `stop`, the array's border repeated; plane after plane.

    Axis by axis in the order in which they lie in memory, so that no more than a few planes are ever copied:
    pooling a padded copy of a large scan took seconds (ours).
    """
    order = sorted(range(3), key=lambda axis: -array.stride()[axis])
    # Of each axis, slowest first: which voxels are the first of their blocks, which the second, and so on
    places = [
        torch.from_numpy(np.arange(start[a], stop[a]).clip(0, array.shape[a] - 1)).view(-1, int(size[a])).T
        for a in order
    ]
    source = array.detach().permute(order)
    means = torch.empty([p.shape[1] for p in places], device=array.device)
    for plane, slices in zip(means, places[0].T.tolist(), strict=True):
        total = source[slices[0]].to(torch.float32, copy=True)
        for number in slices[1:]:
            total += source[number]
        for axis, voxels in enumerate(places[1:]):
            first, *others = (total.index_select(axis, index.to(total.device)) for index in voxels)
            total = sum(others, first)
        torch.div(total, float(size.prod()), out=plane)
    return means.permute([order.index(a) for a in range(3)])


def _nearest_edge(at: Float[np.ndarray, "3"], grid: Grid) -> Float[np.ndarray, "3"]:
    """The voxel edge nearest to a place; of two equally near ones that to the right, front or top."""
    columns = grid.affine[:3, :3]
    sign = np.sign(columns[np.abs(columns).argmax(axis=0), range(3)])
    return np.asarray(sign * np.floor((sign * at + 0.5).round(6)), dtype=np.float64)


def touches_border(inside: Bool[Tensor, "l l l"], region: Grid, scan: Grid, share: float = 0.004) -> bool:
    """Whether a mask (of any resolution) runs into a face of its region although the scan goes on behind it.

    A face counts when more than `share` of it is covered, so that a stray voxel does not.
    """
    size = np.array(region.shape)
    for axis in range(3):
        for end, outside in ((0, -1), (-1, size[axis])):
            beyond = (size - 1) / 2
            beyond[axis] = outside
            goes_on = scan.inside(scan.index_of(region.world_of(beyond)))
            if goes_on and inside.select(axis, end).float().mean().item() > share:
                return True
    return False


def deepest(inside: Tensor) -> Tensor | None:
    """A voxel deep inside a mask, where most of its neighbours belong to it; None for an empty mask."""
    if not bool(inside.any()):
        return None
    x = inside.float()[None, None]
    score = x + _neighbours(x, 3) / 3**3 + _neighbours(x, 9) / 9**3
    index = torch.argmax((score[0, 0] * inside).flatten())
    return torch.stack(torch.unravel_index(index, inside.shape))


def _neighbours(x: Tensor, width: int) -> Tensor:
    """How many voxels of a mask lie in the cube around each voxel: whole numbers, one axis after another."""
    for axis in range(3):
        kernel, margin = [1, 1, 1], [0, 0, 0]
        kernel[axis], margin[axis] = width, width // 2
        x = F.avg_pool3d(x, kernel, 1, margin, divisor_override=1)
    return x
