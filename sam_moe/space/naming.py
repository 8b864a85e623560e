"""What volumes and labels are called: the suffixes of files, and the values of labels; without torch."""

from typing import Any

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")
LARGEST_LABEL = 2**31 - 1


def label_value(given: Any) -> int:
    """A label's value, from a number or its digits as in the keys of JSON.

    Raises:
        TypeError, ValueError, OverflowError: for anything but a whole number from 0 to `LARGEST_LABEL`.
    """
    value = int(given)
    if isinstance(given, bool) or value != float(given) or not 0 <= value <= LARGEST_LABEL:
        raise ValueError(f"{given!r} is no whole number from 0 to {LARGEST_LABEL}")
    return value
