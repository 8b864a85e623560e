"""The recommended metrics of two masks: truth and prediction, every pair of which has a number.

| | best | worst | unit | both empty | one empty | definition |
|---|---|---|---|---|---|---|
| `dice` | 1 | 0 | – | 1 | 0 | Dice 1945 |
| `nsd` | 1 | 0 | – | 1 | 0 | Nikolov et al. 2018, arXiv 1809.04430 |
| `volumetric_similarity` | 1 | 0 | – | 1 | 0 | Taha and Hanbury 2015, BMC Med. Imaging 15:29 |
| `hd95_mm` | 0 | `diagonal_mm` | mm | 0 | `diagonal_mm` | Huttenlocher et al. 1993, 95th percentile |
| `volume_ml` of one mask | – | – | ml | 0 | 0 | voxels times their volume |

Masks are boolean arrays (i, j, k) on one grid; `spacing_mm` is the distance of voxel centres along i, j, k.
All are symmetric in the two masks. Masks of two shapes are a GeometryError. MONAI finds borders and surfaces,
and leaves empty masks undefined; their values here are ours. `official.py` has the SPPIN challenge's own.
"""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from monai.metrics.utils import get_mask_edges
from scipy import ndimage
from scipy.spatial import cKDTree

from sam_moe.errors import GeometryError
from sam_moe.shapes import Bool, Float

Mask = Bool[np.ndarray, "_ _ _"]
Spacing = tuple[float, float, float]

Places = Float[np.ndarray, "_ 3"]
Areas = Float[np.ndarray, " _"]

TOLERANCE_MM = 2.0
# Of a distance that is equal to the tolerance but for the last bits.
_ROUNDING_MM = 1e-6
# Slices whose surface is found at a time.
_SLAB = 16


def dice(truth: Mask, prediction: Mask) -> float:
    """Overlap of two masks, `2 |A and B| / (|A| + |B|)` over voxels (Dice 1945), from 0 to 1.

    Both masks empty: 1, where MONAI has NaN. One empty: 0.

    Raises:
        GeometryError: for masks of two shapes.

    >>> dice(np.array([[[True, True, False]]]), np.array([[[True, False, False]]]))
    0.6666666666666666
    """
    _same_shape(truth, prediction)
    total = int(np.count_nonzero(truth)) + int(np.count_nonzero(prediction))
    return 2 * int(np.count_nonzero(truth & prediction)) / total if total else 1.0


def volumetric_similarity(truth: Mask, prediction: Mask) -> float:
    """Agreement of two volumes wherever they lie, `1 - | |A| - |B| | / (|A| + |B|)`, from 0 to 1.

    Taha and Hanbury 2015 (BMC Medical Imaging 15:29). Both masks empty: 1. One empty: 0.

    Raises:
        GeometryError: for masks of two shapes.

    >>> half = np.array([[[True, False, False]]])
    >>> volumetric_similarity(np.array([[[False, True, True]]]), half)
    0.6666666666666667
    """
    _same_shape(truth, prediction)
    a, b = int(np.count_nonzero(truth)), int(np.count_nonzero(prediction))
    return 1 - abs(a - b) / (a + b) if a + b else 1.0


def volume_ml(mask: Mask, spacing_mm: Spacing) -> float:
    """Volume of a mask in millilitres: its voxels times the product of the spacing, for orthogonal axes.

    An empty mask: 0.

    >>> volume_ml(np.ones((10, 10, 10), dtype=bool), (1.0, 1.0, 2.0))
    2.0
    """
    return int(np.count_nonzero(mask)) * math.prod(spacing_mm) / 1000


def diagonal_mm(shape: tuple[int, ...], spacing_mm: Spacing) -> float:
    """The image's diagonal in millimetres, from outer edge to outer edge.

    It exceeds the distance of any two voxel centres, and so stands for the distance to an empty mask (ours).

    >>> diagonal_mm((3, 4, 12), (1.0, 1.0, 1.0))
    13.0
    """
    return math.hypot(*(n * s for n, s in zip(shape, spacing_mm, strict=True)))


def hd95_mm(truth: Mask, prediction: Mask, spacing_mm: Spacing) -> float:
    """Hausdorff distance of two borders in millimetres, the 95th percentile in place of the largest.

    Larger of the two directed percentiles (linear between ranks) of the distance from each border voxel to
    the nearest one of the other mask. A border is the mask minus its 6-connected erosion, as MONAI has it;
    beyond the image is background. Both masks empty: 0. One empty: `diagonal_mm` of the image (ours).

    Raises:
        GeometryError: for masks of two shapes.

    >>> one, other = np.zeros((2, 1, 1, 9), dtype=bool)
    >>> one[0, 0, 1] = other[0, 0, 5] = True
    >>> hd95_mm(one, other, (1.0, 1.0, 2.0))
    8.0
    """
    _same_shape(truth, prediction)
    if not truth.any() or not prediction.any():
        return 0.0 if truth.any() == prediction.any() else diagonal_mm(truth.shape, spacing_mm)
    if np.array_equal(truth, prediction):
        return 0.0
    with _without_its_own_deprecations():
        borders = get_mask_edges(*_both(truth, prediction))
    one, other = (_places(border, spacing_mm) for border in borders)
    return float(max(np.percentile(to_nearest(*pair), 95) for pair in ((one, other), (other, one))))


def nsd(truth: Mask, prediction: Mask, spacing_mm: Spacing, tolerance_mm: float = TOLERANCE_MM) -> float:
    """Normalised surface Dice: share of both surfaces within `tolerance_mm` of the other one, from 0 to 1.

    Nikolov et al. 2018 (arXiv 1809.04430): areas of the surface elements whose distance to the nearest
    element of the other surface is at most the tolerance, over the area of both surfaces. Elements lie
    between voxel centres (MONAI's `use_subvoxels`, as in CVPR 2025). Both masks empty: 1. One empty: 0.

    Raises:
        GeometryError: for masks of two shapes.
    """
    _same_shape(truth, prediction)
    if not truth.any() or not prediction.any():
        return float(truth.any() == prediction.any())
    if np.array_equal(truth, prediction):
        return 1.0
    (one, area), (other, other_area) = _surfaces(truth, prediction, spacing_mm)
    near = (to_nearest(one, other), to_nearest(other, one))
    within = [
        a[d <= tolerance_mm + _ROUNDING_MM].sum() for a, d in zip((area, other_area), near, strict=True)
    ]
    return float(sum(within) / (area.sum() + other_area.sum()))


def to_nearest(places: Places, others: Places) -> Float[np.ndarray, " _"]:
    """The distance of each place to the nearest other one, in the places' unit; there must be one.

    By a tree, not by a distance map as in MONAI: one stray voxel makes that map as large as the scan.
    """
    found: Float[np.ndarray, " _"] = cKDTree(others, balanced_tree=False).query(places)[0]
    return found


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


def _both(truth: Mask, prediction: Mask) -> tuple[torch.Tensor, torch.Tensor]:
    cut = around_both(truth, prediction)
    one, other = (torch.from_numpy(np.ascontiguousarray(mask[cut])) for mask in (truth, prediction))
    return one, other


def _surfaces(
    truth: Mask, prediction: Mask, spacing_mm: Spacing
) -> tuple[tuple[Places, Areas], tuple[Places, Areas]]:
    """Places and areas of both masks' surface elements, in slabs: MONAI takes 100 bytes a voxel."""
    cut = around_both(truth, prediction)
    both = [np.pad(mask[cut], 1) for mask in (truth, prediction)]
    spacing = [float(s) for s in spacing_mm]  # MONAI takes no mixture of int and float
    found: tuple[list[tuple[Places, Areas]], ...] = ([], [])
    for start in range(0, len(both[0]) - 1, _SLAB):
        slabs = [torch.from_numpy(mask[start : start + _SLAB + 1]) for mask in both]
        if not any(bool(slab.any()) for slab in slabs):
            continue
        with _without_its_own_deprecations():
            *surfaces, area, other_area = get_mask_edges(slabs[0], slabs[1], crop=False, spacing=spacing)
        for kept, surface, areas in zip(found, surfaces, (area, other_area), strict=True):
            places = _places(surface, spacing_mm)
            places[:, 0] += start * spacing_mm[0]
            kept.append((places, areas[surface].double().numpy()))
    one, other = (
        (np.concatenate([places for places, _ in kept]), np.concatenate([areas for _, areas in kept]))
        for kept in found
    )
    return one, other


def _places(surface: torch.Tensor, spacing_mm: Spacing) -> Places:
    return surface.nonzero().numpy() * np.array(spacing_mm, dtype=np.float64)


def _same_shape(truth: Mask, prediction: Mask) -> None:
    if truth.shape != prediction.shape:
        raise GeometryError(
            f"the truth has shape {truth.shape} and the prediction {prediction.shape}. Expected masks on one "
            "grid; resample the prediction onto the truth's (resample_labels)."
        )
