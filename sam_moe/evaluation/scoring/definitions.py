"""What a challenge scores: every number of a result, defined in words that go into the result.

| | computed in | per |
|---|---|---|
| `dice nsd hd95_mm vs volume_error_ml` | `metrics.py` | target and prompt |
| `official.dice official.hd95_mm official.vs` | `official.py` | target and prompt |
| `auc final clicks_to` | `interactive.py` | case or target, over clicks |
| means and intervals of all of them | `summary.py`, `intervals.py` | structure, group, all |
"""

from collections.abc import Mapping

OFFICIAL: Mapping[str, str] = {
    "official.dice": "SPPIN 2023: Dice over voxels; null (NaN) where both masks are empty.",
    "official.hd95_mm": (
        "SPPIN 2023: larger of the two directed 95th percentiles between border voxels (mask minus its "
        "18-connected erosion, outside the image counts as foreground); null (NaN) where the prediction "
        "is empty, which then drops out of the aggregate."
    ),
    "official.vs": "SPPIN 2023: 1 - |A - B| / (A + B); null (NaN) where both masks are empty.",
}

OVER_CLICKS: Mapping[str, str] = {
    "auc": (
        "CVPR 2025: area under the curve over the click steps, by trapezoids of width 1: from 0 to 4 for "
        "five clicks; the step with the box alone is not part of it. Of a case the mean over its structures "
        "at each step; NSD counts 0 at steps where that mean Dice is 0.2 or less. Mean over cases."
    ),
    "final": "CVPR 2025: the same means after the last click.",
    "clicks_to": (
        "Clicks until a target reaches this Dice for the first time, 0 where the box alone does; a target "
        "that never does counts as one click more than were given, and `reached` is the share that do."
    ),
}

# Which targets and voxels are counted.
COUNTED: Mapping[str, str] = {
    "missed": (
        "An empty, missing or failed answer counts with the worst values: shares 0, HD95 the image's "
        "diagonal, volume error the whole target. So does a case whose scan cannot be read; where its label "
        "map cannot be read either, the target's volume and the volume error are unknown, and means of the "
        "latter are over the other targets, whose number is its `n`."
    ),
    "ignored": (
        "Voxels that a set's own table calls `ignore` (nnU-Net: not annotated) are taken out of truth and "
        "answer before anything is measured, and no simulated user clicks there."
    ),
}


def metric_definitions(tolerance_mm: float) -> dict[str, str]:
    """The columns of a row, from two masks on one grid; NSD at this tolerance."""
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


def definitions(tolerance_mm: float) -> dict[str, str]:
    """All of them, by name."""
    return {**metric_definitions(tolerance_mm), **OFFICIAL, **OVER_CLICKS, **COUNTED}
