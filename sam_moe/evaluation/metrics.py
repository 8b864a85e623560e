"""The recommended metrics: every pair of masks has a number, the worst one where a target was missed.

Masks are boolean arrays on one grid, spacings in millimetres along their axes. MONAI computes surfaces;
what it leaves undefined (an empty mask) is defined here. `official.py` has the SPPIN challenge's own.
"""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from monai.metrics.surface_dice import compute_surface_dice
from monai.metrics.utils import get_edge_surface_distance
from scipy import ndimage

from sam_moe.errors import GeometryError
from sam_moe.shapes import Bool

Mask = Bool[np.ndarray, "_ _ _"]
Spacing = tuple[float, float, float]

TOLERANCE_MM = 2.0


def definitions(tolerance_mm: float = TOLERANCE_MM) -> dict[str, str]:
    """What each metric of a result means, in words that go into the result."""
    return {
        "dice": "2 |A and B| / (|A| + |B|) over voxels; 1 where both masks are empty.",
        "nsd": (
            f"Normalised surface Dice at {tolerance_mm:g} mm (Nikolov et al. 2018): area of both surfaces "
            "closer than that to the other one, over their whole area; surface elements between voxel "
            "centres, MONAI's use_subvoxels. 1 where both masks are empty, 0 where one is."
        ),
        "hd95_mm": (
            "Larger of the two directed 95th percentiles of the distances between border voxels (mask minus "
            "its 6-connected erosion, outside the image counts as background), by MONAI. 0 where both masks "
            "are empty, the image's diagonal (outer edges) where one is."
        ),
        "vs": "Volumetric similarity, 1 - ||A| - |B|| / (|A| + |B|); 1 where both masks are empty.",
        "volume_error_ml": "Absolute difference of the two volumes in millilitres.",
    }


def dice(truth: Mask, prediction: Mask) -> float:
    """Overlap of two masks, `2 |A and B| / (|A| + |B|)`.

    Dice 1945. Two empty masks agree: 1, where MONAI says NaN.

    >>> dice(np.array([[[True, True, False]]]), np.array([[[True, False, False]]]))
    0.6666666666666666
    """
    _same_shape(truth, prediction)
    total = int(np.count_nonzero(truth)) + int(np.count_nonzero(prediction))
    return 2 * int(np.count_nonzero(truth & prediction)) / total if total else 1.0


def volumetric_similarity(truth: Mask, prediction: Mask) -> float:
    """Agreement of two volumes wherever they are, `1 - |A - B| / (A + B)`.

    Taha and Hanbury 2015. Two empty masks agree: 1.
    """
    _same_shape(truth, prediction)
    a, b = int(np.count_nonzero(truth)), int(np.count_nonzero(prediction))
    return 1 - abs(a - b) / (a + b) if a + b else 1.0


def volume_ml(mask: Mask, spacing_mm: Spacing) -> float:
    """Volume of a mask in millilitres, for axes at right angles."""
    return int(np.count_nonzero(mask)) * math.prod(spacing_mm) / 1000


def diagonal_mm(shape: tuple[int, ...], spacing_mm: Spacing) -> float:
    """The image's diagonal from outer edge to outer edge: farther than any two voxels can lie apart."""
    return math.hypot(*(n * s for n, s in zip(shape, spacing_mm, strict=True)))


def hd95_mm(truth: Mask, prediction: Mask, spacing_mm: Spacing) -> float:
    """The 95th percentile of the distance between two borders, the larger of both directions.

    Surfaces and distances are MONAI's. Two empty masks lie 0 mm apart, an empty one lies the image's diagonal
    from any other.
    """
    _same_shape(truth, prediction)
    if not truth.any() or not prediction.any():
        return 0.0 if truth.any() == prediction.any() else diagonal_mm(truth.shape, spacing_mm)
    if np.array_equal(truth, prediction):
        return 0.0
    cut = around_both(truth, prediction)
    with _without_its_own_deprecations():
        _, directed, _ = get_edge_surface_distance(
            torch.from_numpy(np.ascontiguousarray(prediction[cut])),
            torch.from_numpy(np.ascontiguousarray(truth[cut])),
            spacing=[float(s) for s in spacing_mm],
            symmetric=True,
        )
    # not MONAI's compute_hausdorff_distance: its quantile refuses more than 2^24 border voxels
    return max(float(np.percentile(distances.double().numpy(), 95)) for distances in directed)


def nsd(truth: Mask, prediction: Mask, spacing_mm: Spacing, tolerance_mm: float = TOLERANCE_MM) -> float:
    """Share of both surfaces that lies within a tolerance of the other one.

    Nikolov et al. 2018 (arXiv 1809.04430), MONAI's with surface elements: the CVPR 2025 challenge's. Two
    empty masks agree: 1; an empty one agrees with no other: 0.
    """
    _same_shape(truth, prediction)
    if not truth.any() or not prediction.any():
        return float(truth.any() == prediction.any())
    if np.array_equal(truth, prediction):
        return 1.0
    cut = around_both(truth, prediction)
    with _without_its_own_deprecations():
        found = compute_surface_dice(
            _batch(prediction[cut]),
            _batch(truth[cut]),
            class_thresholds=[float(tolerance_mm)],
            include_background=True,
            spacing=[float(s) for s in spacing_mm],
            use_subvoxels=True,
        )
    return min(1.0, float(found.item()))


def around_both(one: Mask, other: Mask) -> tuple[slice, ...]:
    """The bounding box of two masks, of which one is not empty, a voxel wider where the image is."""
    (box,) = ndimage.find_objects((one | other).view(np.uint8))
    return tuple(slice(max(0, s.start - 1), s.stop + 1) for s in box)


@contextmanager
def _without_its_own_deprecations() -> Iterator[None]:
    """MONAI 1.6 warns of an argument that it passes itself."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, module="monai")
        yield


def _batch(mask: Mask) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(mask))[None, None]


def _same_shape(truth: Mask, prediction: Mask) -> None:
    if truth.shape != prediction.shape:
        raise GeometryError(
            f"the truth has shape {truth.shape} and the prediction {prediction.shape}. Expected masks on one "
            "grid; resample the prediction onto the truth's (resample_labels)."
        )
