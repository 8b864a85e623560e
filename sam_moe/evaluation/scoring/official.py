"""The SPPIN 2023 challenge's own metrics and aggregates, quirks included, to compare with its leaderboard.

Re-implemented from the description of its evaluation script (github.com/myrthebuser/SPPIN2023,
evaluation.py, which has no licence). Its quirks, kept: the aggregate called `mean` is the median of what is
not NaN, so that an empty prediction, whose HD95 is NaN, drops out and *improves* the score; the standard
deviation of VS alone does not leave NaN out. The recommended numbers stand beside these (`metrics.py`).
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import ndimage

from sam_moe.evaluation.scoring.metrics import Mask, Spacing, around_both, to_nearest

# Mask minus its erosion with ITK's ball of radius 1, which is the 18-connected neighbourhood.
_BALL = ndimage.generate_binary_structure(3, 2)
# Our names, and the script's in its metrics.json.
NAMES = {"dice": "Dice", "hd95_mm": "Hausdorff", "vs": "Volumetric_similarity"}


def official(truth: Mask, prediction: Mask, spacing_mm: Spacing) -> dict[str, float | None]:
    """Dice, HD95 in millimetres and volumetric similarity as the official script has them.

    None where it has NaN or fails. Both masks empty: None for all. Prediction empty: Dice and VS 0, HD95
    None. Truth empty: the same. A mask that fills its whole image has no border, and no HD95.
    """
    a, b = int(np.count_nonzero(truth)), int(np.count_nonzero(prediction))
    total = a + b
    both = int(np.count_nonzero(truth & prediction))
    return {
        "dice": 2 * both / total if total else None,
        "hd95_mm": hd95_mm(truth, prediction, spacing_mm),
        "vs": 1 - abs(a - b) / total if total else None,
    }


def hd95_mm(truth: Mask, prediction: Mask, spacing_mm: Spacing) -> float | None:
    """The script's HD95 in millimetres; None where a mask is empty (NaN there) or has no border (it fails).

    Larger of the two directed 95th percentiles between the voxels of `border`.
    """
    if not truth.any() or not prediction.any():
        return None
    cut = around_both(truth, prediction)
    one, other = (np.argwhere(border(mask[cut])) * np.array(spacing_mm) for mask in (truth, prediction))
    if not len(one) or not len(other):
        return None
    return float(max(np.percentile(to_nearest(*pair), 95) for pair in ((one, other), (other, one))))


def border(mask: Mask) -> Mask:
    """Voxels with one of their 18 neighbours outside the mask; beyond the image is foreground.

    An empty mask has none.
    """
    eroded: Mask = ndimage.binary_erosion(mask, _BALL, border_value=1)
    return np.asarray(mask & ~eroded)


def aggregate(cases: Mapping[str, Mapping[str, float | None]]) -> dict[str, dict[str, float | None]]:
    """The script's aggregates (our keys): `mean`, the median of what is not NaN, and `std`.

    None where all cases are NaN, or, for the standard deviation of VS, where any is.
    """
    found = {}
    for name in NAMES:
        values = np.array([_number(case.get(name)) for case in cases.values()], dtype=np.float64)
        known = values[~np.isnan(values)]
        spread = values if name == "vs" else known
        found[name] = {
            "mean": _or_none(float(np.median(known))) if len(known) else None,
            "std": _or_none(float(np.std(spread))) if len(spread) else None,
        }
    return found


def metrics_json(cases: Mapping[str, Mapping[str, float | None]]) -> dict[str, Any]:
    """What the script writes as metrics.json, by the names of cases; strict JSON, `null` where it has NaN."""
    return {
        "case": {
            name: {theirs: case.get(ours) for ours, theirs in NAMES.items()} for name, case in cases.items()
        },
        "aggregates": {NAMES[ours]: both for ours, both in aggregate(cases).items()},
    }


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
