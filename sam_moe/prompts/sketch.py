"""The simulated user's drawing on one slice: a flat box, a scribble, a lasso, at a target or at an error.

Masks are boolean volumes; coordinates are their voxel indices. The same generator state gives the same
drawing; nothing else is random. All of this is ours but `middle_slice`.
"""

import numpy as np

from sam_moe.errors import PromptError
from sam_moe.prompts.coordinates import Triple, floats
from sam_moe.prompts.drawn import Loop, Stroke
from sam_moe.prompts.items import Box
from sam_moe.prompts.painted import loops_of, strokes_of
from sam_moe.prompts.simulate import Mask, box_around, largest_error

_ISOTROPIC: Triple = (1.0, 1.0, 1.0)
_SCRIBBLED = 0.5  # a scribble keeps to where a slice is so deep, as a share of its deepest


def drawing_axis(spacing_mm: Triple) -> int:
    """The axis across which a person draws: that of the thickest voxels, of equal ones the last."""
    return 2 - int(np.argmax(spacing_mm[::-1]))


def middle_slice(mask: Mask, axis: int) -> int:
    """The slice that the middle one of the mask's voxels lies on, counted along an axis.

    Where the CVPR 2025 interactive segmentation challenge draws its boxes (its `get_boxes.py`).
    """
    index = np.nonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))[0]
    if not len(index):
        raise PromptError(
            f"the mask of shape {mask.shape} is empty: there is nothing to draw on. "
            "Leave this target out, or check the label value it was made from."
        )
    voxels = mask.sum(axis=tuple(other for other in range(3) if other != axis))
    return int(np.searchsorted(np.cumsum(voxels), voxels.sum() // 2, side="right"))


def flat_box(mask: Mask, axis: int, rng: np.random.Generator | None = None, jitter: float = 0.0) -> Box:
    """A box around the mask on its middle slice across an axis; sides moved as by `box_around`.

    Raises:
        PromptError: for an empty mask.
    """
    box = box_around(_on_slice(mask, axis), rng, jitter)
    start, stop, at = list(box.start), list(box.stop), middle_slice(mask, axis)
    start[axis], stop[axis] = at, at + 1  # jitter is for the sides that were drawn
    return Box(floats(np.array(start)), floats(np.array(stop)))


def challenge_box(mask: Mask, flat: bool) -> Box:
    """The box of the CVPR 2025 interactive segmentation challenge, without its random widening.

    Its `get_boxes.py`: drawn around the mask on its middle slice along the third axis. The archives give the
    mask's first and last slice, too: with `flat=False` the box reaches from one to the other, and with
    `flat=True` it is left on its slice.

    Raises:
        PromptError: for an empty mask.
    """
    drawn, whole = flat_box(mask, 2), box_around(mask)
    depth = drawn if flat else whole
    return Box((*drawn.start[:2], depth.start[2]), (*drawn.stop[:2], depth.stop[2]), flat=flat)


def stroke_along(mask: Mask, axis: int, positive: bool = True) -> Stroke:
    """A scribble along the middle of the mask's largest part on its middle slice across an axis.

    Raises:
        PromptError: for an empty mask.
    """
    from scipy import ndimage

    drawn = _on_slice(mask, axis)
    depth = ndimage.distance_transform_edt(np.pad(drawn.take(middle_slice(mask, axis), axis), 1))[1:-1, 1:-1]
    at = [slice(None)] * 3
    at[axis] = slice(middle_slice(mask, axis), middle_slice(mask, axis) + 1)
    drawn[tuple(at)] = np.expand_dims(depth >= _SCRIBBLED * depth.max(), axis)
    return strokes_of(drawn, positive)[0]


def loop_around(
    mask: Mask,
    axis: int,
    rng: np.random.Generator | None = None,
    jitter: float = 0.0,
    positive: bool = True,
) -> Loop:
    """A lasso around the mask's largest part on its middle slice across an axis.

    `jitter` moves each point of the curve by up to that share of the curve's width, and needs `rng`.

    Raises:
        PromptError: for an empty mask, or jitter without a generator.
    """
    loop = loops_of(_on_slice(mask, axis), positive)[0]
    if jitter == 0:
        return loop
    if rng is None:
        raise PromptError("a jittered loop needs a generator: pass rng=np.random.default_rng(seed).")
    places = loop.places
    reach = jitter * np.ptp(places, axis=0)
    moved = places + rng.uniform(-1, 1, size=places.shape) * reach
    return Loop(tuple(floats(place) for place in moved), positive)


def next_stroke(truth: Mask, prediction: Mask, axis: int) -> Stroke | None:
    """The scribble that mends the prediction, along its largest error; None where nothing is to mend.

    Negative along tissue that the prediction made up; missed and false tissue apart, as in `next_click`.
    """
    found = largest_error(truth, prediction)
    return None if found is None else stroke_along(found[0], axis, found[1])


def next_loop(truth: Mask, prediction: Mask, axis: int) -> Loop | None:
    """The lasso that mends the prediction, around its largest error; None where nothing is to mend."""
    found = largest_error(truth, prediction)
    return None if found is None else loop_around(found[0], axis, positive=found[1])


def _on_slice(mask: Mask, axis: int) -> Mask:
    """The mask on its middle slice, nothing elsewhere."""
    at = middle_slice(mask, axis)
    kept = np.zeros_like(mask)
    where = [slice(None)] * 3
    where[axis] = slice(at, at + 1)
    kept[tuple(where)] = mask[tuple(where)]
    return kept
