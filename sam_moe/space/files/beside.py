"""Files beside a mask that describe it: the names of its values, and the record of the run that made it."""

import json
import os
from pathlib import Path

from sam_moe.errors import FileError
from sam_moe.files import read_bytes, withdraw
from sam_moe.space.naming import SUFFIXES, label_value

RECORD = ".run.json"


def suffix_of(path: Path) -> str:
    """The suffix of a file to write, such as .nii.gz; FileError where no format has it."""
    for suffix in SUFFIXES:
        if path.name.lower().endswith(suffix) and len(path.name) > len(suffix):
            return suffix
    raise FileError(
        f"{path}: unknown kind of file to write. Expected a name that ends in {', '.join(SUFFIXES)}."
    )


def labels_beside(mask: Path) -> Path:
    """Where the names of a mask's values are: `liver.nii.gz` has `liver.labels.json`."""
    return mask.with_name(mask.name[: -len(suffix_of(mask))] + ".labels.json")


def record_beside(mask: Path) -> Path:
    """Where the record of the run that made a mask is: `liver.nii.gz` has `liver.run.json`."""
    return mask.with_name(mask.name[: -len(suffix_of(mask))] + RECORD)


def withdraw_record(mask: Path) -> None:
    """Remove the run record of an older mask that is about to be replaced.

    What is called so and is no run record stays, and so does that of another mask of the same stem, as
    `liver.nii` is beside `liver.nii.gz`.

    Raises:
        FileError: where it cannot be removed.
    """
    path = record_beside(mask)
    try:
        found = json.loads(read_bytes(path))
    except (FileError, ValueError, RecursionError):  # no such file, or none of ours
        return
    if isinstance(found, dict) and found.get("kind") in ("run", "begun"):
        name = mask.name.encode("utf-8", "backslashreplace").decode("utf-8")  # as records have it
        if found.get("mask") == name:
            withdraw(path)


def labels_text(labels: dict[int, str], path: Path) -> str:
    """The names of a mask's values as its file has them.

    Raises:
        FileError: for values that are no labels, and empty names.
    """
    for value, name in labels.items():
        if not isinstance(value, int) or not 1 <= value <= 65535 or not isinstance(name, str) or not name:
            raise FileError(
                f"{path}: label {value!r} named {name!r}. Expected whole numbers from 1 with a name; 0 is "
                "background."
            )
    names = {str(value): labels[value] for value in sorted(labels)}
    return json.dumps(names, indent=2, ensure_ascii=False) + "\n"


def names_beside(mask: Path) -> dict[int, str]:
    """The names of a mask's values, read from the file beside it; empty where there is none.

    Raises:
        FileError: for a file of that name that is no table of names.
    """
    path = labels_beside(mask)
    if not os.path.lexists(path):
        return {}
    try:
        found = json.loads(read_bytes(path))
        names = {label_value(value): name for value, name in found.items()}
        labels_text(names, path)
        return names
    except (AttributeError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise FileError(
            f'{path}: is no table of a mask\'s names. Expected {{"1": "liver"}}; mend it, or move it away.'
        ) from error


def check_table(path: Path) -> None:
    """Refuse to replace a file that is called as a mask's names are, and is something else."""
    if not os.path.lexists(path):
        return
    try:
        found = json.loads(read_bytes(path))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(
        key.isdecimal() and isinstance(name, str) for key, name in found.items()
    ):
        raise FileError(
            f"{path}: is no table of a mask's names, and would be replaced by one. Expected a free name or "
            "such a table; move it, or write the mask under another name."
        )
