"""Rows of a case that cannot be read: the worst values, as for an answer that is missing."""

from collections.abc import Iterator, Mapping, Sequence

from sam_moe.errors import SamMoeError
from sam_moe.evaluation.challenge.challenge import Case, read_truths
from sam_moe.evaluation.results import Row
from sam_moe.evaluation.scoring.metrics import diagonal_mm, volume_ml
from sam_moe.files import in_words
from sam_moe.space.files import read_header
from sam_moe.space.grid import Grid

# What stands for the diagonal of a scan whose header cannot be read, nor its label map's.
UNKNOWN_DIAGONAL_MM = 1000.0


def reason_of(error: Exception) -> str:
    """Why a file cannot be read, in one line; the kind of an error that is not ours goes before its words."""
    if isinstance(error, SamMoeError):
        return str(error)
    return f"{type(error).__name__}: {in_words(error)}"


def unread_rows(case: Case, steps: Mapping[str, Sequence[str]], reason: str) -> Iterator[Row]:
    """A failed row of each system, structure and step; `steps` has the names of each system's.

    The volume error is the whole target where the label map can be read; where it cannot, both volumes are
    none, and no mean takes them for 0. A structure that a readable label map lacks has no row: it is no
    target.
    """
    truths = read_truths(case)
    grid = next((truth.grid for truth in (truths or {}).values()), None)
    worst_mm = _diagonal_mm(case, grid)
    for system, label in ((system, label) for system in steps for label in case.labels):
        if truths is not None and label not in truths:
            continue
        truth = None if truths is None else truths[label]
        ml = None if truth is None else volume_ml(truth.array.numpy().astype(bool), truth.grid.spacing_mm)
        for step, name in enumerate(steps[system]):
            yield Row(
                system=system,
                case=case.id,
                patient=case.patient,
                label=label,
                strata=dict(case.strata),
                prompt=name,
                step=step,
                status="failed",
                reason=f"the case cannot be read: {reason}",
                dice=0.0,
                nsd=0.0,
                vs=0.0,
                hd95_mm=worst_mm,
                volume_error_ml=ml,
                truth_ml=ml,
                predicted_ml=0.0,
                official={"dice": None, "hd95_mm": None, "vs": None},
            )


def _diagonal_mm(case: Case, truth: Grid | None) -> float:
    """The scan's diagonal by its header, else the label map's."""
    try:
        grid = read_header(case.images[case.reference]).grid
    except Exception:  # a damaged file can raise whatever its bytes spell
        if truth is None:
            return UNKNOWN_DIAGONAL_MM
        grid = truth
    return diagonal_mm(grid.shape, grid.spacing_mm)
