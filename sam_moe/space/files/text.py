"""What the text headers of NRRD and MetaImage share: numbers in a field, and LPS millimetres."""

import math
from pathlib import Path

import numpy as np
from jaxtyping import Float

from sam_moe.errors import FileError


def numbers(path: Path, field: str, value: str, count: int) -> list[float]:
    """Read exactly `count` finite numbers from a header field.

    Raises:
        FileError: naming the field.
    """
    try:
        found = [float(word) for word in value.split()]
    except ValueError:
        found = []
    if len(found) != count or not all(math.isfinite(x) for x in found):
        raise FileError(
            f"{path}: header field {field!r} is {value[:80]!r}. Expected {count} finite numbers; the header "
            "is damaged or incomplete, save the scan anew."
        )
    return found


def lps_to_ras(affine: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
    """Turn an affine that leads to LPS millimetres, those of ITK and DICOM, into one to RAS+, or back."""
    return np.asarray(np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine, dtype=np.float64)
