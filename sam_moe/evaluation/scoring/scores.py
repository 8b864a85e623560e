"""Scores of one answer to one target: both sets of definitions, and the worst values where there is none."""

from typing import TypedDict

from sam_moe.errors import GeometryError
from sam_moe.evaluation.results import Status
from sam_moe.evaluation.scoring import metrics
from sam_moe.evaluation.scoring.metrics import TOLERANCE_MM, Mask, Spacing
from sam_moe.evaluation.scoring.official import official


class Scores(TypedDict):
    """The fields of a result's row that masks decide: `Row(system=…, case=…, **score(…))`."""

    status: Status
    reason: str
    dice: float
    nsd: float
    vs: float
    hd95_mm: float
    volume_error_ml: float
    truth_ml: float
    predicted_ml: float
    official: dict[str, float | None]


def score(truth: Mask, prediction: Mask, spacing_mm: Spacing, tolerance_mm: float = TOLERANCE_MM) -> Scores:
    """Compare an answer with the truth, both on one grid.

    An empty answer has the status `empty` and the worst values. A truth that is empty is no target: a
    challenge leaves it out, and here it is refused.

    Raises:
        GeometryError: for masks of two shapes, or an empty truth.
    """
    if not truth.any():
        raise GeometryError(
            f"the truth of shape {truth.shape} is empty: there is no target to score. Leave it out, or check "
            "the label's values in the challenge."
        )
    truth_ml = metrics.volume_ml(truth, spacing_mm)
    predicted_ml = metrics.volume_ml(prediction, spacing_mm)
    empty = not prediction.any()
    return Scores(
        status="empty" if empty else "ok",
        reason="the prediction is empty" if empty else "",
        dice=metrics.dice(truth, prediction),
        nsd=metrics.nsd(truth, prediction, spacing_mm, tolerance_mm),
        vs=metrics.volumetric_similarity(truth, prediction),
        hd95_mm=metrics.hd95_mm(truth, prediction, spacing_mm),
        volume_error_ml=abs(truth_ml - predicted_ml),
        truth_ml=truth_ml,
        predicted_ml=predicted_ml,
        official=official(truth, prediction, spacing_mm),
    )


def worst(truth: Mask, spacing_mm: Spacing, status: Status, reason: str) -> Scores:
    """The row of an answer that cannot be scored, as if nothing had been found; official numbers are null."""
    truth_ml = metrics.volume_ml(truth, spacing_mm)
    return Scores(
        status=status,
        reason=reason,
        dice=0.0,
        nsd=0.0,
        vs=0.0,
        hd95_mm=metrics.diagonal_mm(truth.shape, spacing_mm),
        volume_error_ml=truth_ml,
        truth_ml=truth_ml,
        predicted_ml=0.0,
        official={"dice": None, "hd95_mm": None, "vs": None},
    )
