"""A source of cases: a folder, its layout and the part to take; a case as a layout finds it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from sam_moe.config import Settings
from sam_moe.errors import ConfigError, SamMoeError
from sam_moe.files import in_words
from sam_moe.space.naming import SUFFIXES, label_value
from sam_moe.variants import Variants, checked

# `find(source, root)` of each gives a list of `FoundCase`.
LAYOUTS = Variants("layout", "sam_moe.cases.layouts", "sam_moe.layouts", "find")
Labels = dict[str, tuple[int | str, ...]]


class Source(Settings):
    """One folder of cases."""

    layout: str = Field(
        description=f"How the folder is laid out: {', '.join(LAYOUTS.own)}, or another package's layout."
    )
    root: str = Field(
        min_length=1,
        description="The folder, relative to the data folder; to the challenge where it begins with a dot.",
    )
    part: str = Field("", description="The part to take, such as test; empty for all there is.")
    splits: str = Field(
        "",
        description='A JSON file {"sets": {NAME: {PART: [case, …]}}}, relative to the challenge; NAME is the '
        "root's last folder. Empty where the layout itself knows parts.",
    )
    cases: tuple[str, ...] = Field((), description="Only these cases; empty for all of the part.")
    images: str = Field("images", description="Layout folders: the folder of images.")
    truths: str = Field("labels", description="Layout folders: the folder of label maps.")
    prefix: str = Field("", description="Put before the names of cases and patients, to keep sets apart.")
    patient: str = Field(
        "", description="Regular expression searched in a case's name; its first group is the patient."
    )
    strata: dict[str, str] = Field(
        {},
        description="Strata by regular expressions searched in a case's name: the first group is the value.",
    )
    fixed: dict[str, str] = Field({}, description="Strata that all cases of the source share.")
    labels: Labels | None = Field(
        None, description="The challenge's labels as they are here, where they differ."
    )

    @field_validator("layout")
    @classmethod
    def _is_known(cls, value: str) -> str:
        return checked(LAYOUTS, value)

    @field_validator("patient")
    @classmethod
    def _has_a_group(cls, value: str) -> str:
        return _checked(value) if value else value

    @field_validator("strata")
    @classmethod
    def _have_groups(cls, value: dict[str, str]) -> dict[str, str]:
        return {name: _checked(pattern) for name, pattern in value.items()}


@dataclass(frozen=True)
class FoundCase:
    """One case as a layout finds it: series by name, the label map, and what the layout knows of it."""

    case: str
    images: Mapping[str, Path]
    truth: Path
    patient: str = ""
    part: str = ""
    names: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    strata: Mapping[str, str] = field(default_factory=dict)


def label_values(path: Path, labels: Any) -> dict[str, tuple[int, ...]]:
    """Structures and their values: {name: value}, {name: [values]} (regions) or {value: name}; no background.

    Raises:
        ConfigError: for anything else.
    """
    try:
        found: dict[str, tuple[int, ...]] = {}
        for key, value in labels.items():
            if isinstance(value, str) and not value.isdigit():
                found[value] = (*found.get(value, ()), label_value(key))
            else:
                found[str(key)] = tuple(map(label_value, value if isinstance(value, list) else [value]))
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise ConfigError(
            f'{path}: labels: expected {{"liver": 1}} or {{"1": "liver"}}; mend them ({error}).'
        ) from error
    return {name: values for name, values in found.items() if values != (0,)}


def entries(folder: Path, error_class: type[SamMoeError] = ConfigError) -> list[Path]:
    """What lies in a folder, in the order of names, but for hidden files such as macOS's `._x.nii.gz`.

    Raises:
        error_class: where there is no such folder, or it cannot be listed.
    """
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except FileNotFoundError as error:
        raise error_class(
            f"{folder}: no such folder. Check the challenge's root and the data folder."
        ) from error
    except (OSError, ValueError) as error:
        raise error_class(
            f"{folder}: cannot be listed ({in_words(error)}). Expected a folder; check path and rights."
        ) from error


def volumes_in(folder: Path, error_class: type[SamMoeError] = ConfigError) -> dict[str, Path]:
    """The image files of a folder by name without suffix, in order.

    Raises:
        error_class: as `entries`, and where two files have one name.
    """
    found: dict[str, Path] = {}
    for path in entries(folder, error_class):
        stem = stem_of(path)
        if stem is None:
            continue
        if stem in found:
            raise error_class(
                f"{folder}: {found[stem].name} and {path.name} have one name. Expected one file a case; "
                "remove one of them."
            )
        found[stem] = path
    return found


def stem_of(path: Path) -> str | None:
    """A volume's name without its suffix, or None for another kind of file."""
    name = path.name
    return next((name[: -len(s)] for s in SUFFIXES if name.lower().endswith(s) and len(name) > len(s)), None)


def printable(name: str) -> str:
    """A name as files of text hold it: what in a file's name is no UTF-8 is escaped."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _checked(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression ({error})") from error
    if groups < 1:
        raise ValueError(f"{pattern!r} has no group; put what is meant in brackets, as in '^(STS_[0-9]+)'")
    return pattern
