"""The stack that a series' slices form: uniform gaps, none missing, positions perhaps rounded."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sam_moe.errors import GeometryError
from sam_moe.shapes import Float

logger = logging.getLogger(__name__)

# How far, in slice distances, a slice may lie from where uniform gaps put it.
_UNEVEN = 0.05
# How far rounding to 0.1 mm moves a coordinate, with a hundredth for the fit through all of them.
_ROUNDING_MM = 0.06


def stack(
    path: Path, places: Float[np.ndarray, "n 3"], normal: Float[np.ndarray, " 3"], names: Sequence[str]
) -> tuple[Float[np.ndarray, " 3"], Float[np.ndarray, " 3"]]:
    """Where the first slice lies and the step from each to the next, of slices in order along the normal.

    Raises:
        GeometryError: where two lie at one place, one is missing, or the gaps are not uniform.
    """
    try:
        _check_gaps(path, places, normal, names)
    except GeometryError:
        rounded = _rounded(places, normal)
        if rounded is None:
            raise
        logger.warning(
            "%s: the slices' positions are rounded, up to %.3f mm beside uniform gaps of %.4f mm, which are "
            "taken",
            path,
            _off(places, *rounded).max(),
            np.linalg.norm(rounded[1]),
        )
        return rounded
    return places[0], (places[-1] - places[0]) / (len(places) - 1)


def _rounded(
    places: Float[np.ndarray, "n 3"], normal: Float[np.ndarray, " 3"]
) -> tuple[Float[np.ndarray, " 3"], Float[np.ndarray, " 3"]] | None:
    """Origin and step of the upright stack whose positions, rounded to 0.1 mm, are these; None for others."""
    count = np.arange(len(places)) - (len(places) - 1) / 2
    gap = float(count @ (places @ normal) / (count @ count))  # least squares
    step = gap * normal
    origin = places.mean(axis=0) + count[0] * step
    gaps = np.diff(places @ normal)
    whole = gap > 1e-4 and 0.5 * gap < gaps.min() and gaps.max() < 1.5 * gap  # no slice is missing
    off = _off(places, origin, step)
    return (origin, step) if whole and off.max() <= min(_ROUNDING_MM, 0.25 * gap) else None


def _off(
    places: Float[np.ndarray, "n 3"], origin: Float[np.ndarray, " 3"], step: Float[np.ndarray, " 3"]
) -> Float[np.ndarray, "n 3"]:
    """How far each coordinate of each slice is from a uniform stack's."""
    return np.asarray(np.abs(places - origin - np.arange(len(places))[:, None] * step))


def _check_gaps(
    path: Path, places: Float[np.ndarray, "n 3"], normal: Float[np.ndarray, " 3"], names: Sequence[str]
) -> None:
    depths = np.array([normal @ place for place in places])
    gaps = np.diff(depths)
    usual = float(np.median(gaps))
    if usual <= 1e-4 or gaps.min() < 0.01 * usual:
        same = int(gaps.argmin())
        raise GeometryError(
            f"{path}: {names[same]} and {names[same + 1]} lie at the same place, "
            f"{depths[same]:.2f} mm along the normal. Expected one slice for each place; split time points "
            "or echoes into series of their own."
        )
    wrong = int(np.abs(gaps - usual).argmax())
    if abs(gaps[wrong] - usual) > _UNEVEN * usual:
        missing = round(gaps[wrong] / usual) - 1
        guess = f", as if {missing} were missing" if missing > 0 else ""
        raise GeometryError(
            f"{path}: {len(places)} slices {usual:.3f} mm apart, but {gaps[wrong]:.3f} mm between "
            f"{depths[wrong]:.2f} and {depths[wrong + 1]:.2f} mm along the normal ({names[wrong]} "
            f"and {names[wrong + 1]}){guess}. Expected uniform gaps; find the missing slices or "
            "resample the series."
        )
    line = np.linspace(places[0], places[-1], len(places))
    aside = float(np.linalg.norm(places - line, axis=1).max())
    if aside > _UNEVEN * usual:
        raise GeometryError(
            f"{path}: slices lie up to {aside:.3f} mm beside the straight line from first to last. Expected "
            "a straight stack of uniform gaps; resample the series."
        )
