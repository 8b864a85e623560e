"""What the text headers of NRRD and MetaImage share: numbers in a field, and LPS millimetres."""

import math
from pathlib import Path

import numpy as np

from sam_moe.errors import FileError
from sam_moe.shapes import Float


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


def check_positive(path: Path, field: str, spacing: list[float]) -> None:
    """Raise FileError for a spacing of zero or less: some readers take its size, others flip the axis."""
    if not all(s > 0 for s in spacing):
        raise FileError(
            f"{path}: header field {field!r} is {spacing}. Expected positive millimetres; write the true "
            "voxel sizes into the header or export the scan again."
        )


def one_edit_apart(name: str, known: str) -> bool:
    """Whether one letter less, more, other, or swapped with the next makes one name the other; case is none.

    What a flipped bit or a slip of the finger does to a field's name.
    """
    a, b = sorted((name.lower(), known.lower()), key=len)
    if len(b) - len(a) > 1:
        return False
    first = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(a))
    if len(a) < len(b):
        return a[first:] == b[first + 1 :]
    swapped = a[:first] + a[first : first + 2][::-1] + a[first + 2 :]
    return a[first + 1 :] == b[first + 1 :] or swapped == b


def lps_to_ras(affine: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
    """Turn an affine that leads to LPS millimetres, those of ITK and DICOM, into one to RAS+, or back."""
    return np.asarray(np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine, dtype=np.float64)
