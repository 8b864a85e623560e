"""A set of labelled scans: a `dataset.json` that lists its cases, or images/ and labels/ of the same names.

`dataset.json` has `cases` (`id`, `image`, `label`; without `image` a label map alone; perhaps `patient`) and
`labels` (name: id); a case whose labels have other ids carries its own `label_names` (id: name).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sam_moe.cases.source import volumes_in
from sam_moe.config import read_object
from sam_moe.errors import FileError, SamMoeError
from sam_moe.space.naming import label_value

DATASET = "dataset.json"
IGNORE = "ignore"  # what nnU-Net calls voxels that were not annotated


@dataclass(frozen=True)
class LabelledCase:
    """A label map, its image if it has one, and the names of values and patient as far as they are known."""

    id: str
    label: Path
    image: Path | None
    names: Mapping[int, str]
    patient: str = ""

    def name_of(self, value: int) -> str:
        """What a value is called; "label 3" where it has no name."""
        return self.names.get(value, f"label {value}")


def read_dataset(folder: Path, error_class: type[SamMoeError] = FileError) -> tuple[LabelledCase, ...]:
    """The cases of a set, in its order; of plain folders in the order of their names.

    Raises:
        error_class: for a folder that is neither, naming the file and the field.
    """
    path = folder / DATASET
    if not path.is_file():
        return _paired(folder, error_class)
    dataset = read_object(path, error_class)
    cases = dataset.get("cases")
    if not isinstance(cases, list):
        raise error_class(f"{path}: cases: expected a list of cases; add it.")
    found = []
    for number, case in enumerate(cases):
        if not isinstance(case, dict) or not {"id", "label"} <= set(case):
            raise error_class(f"{path}: cases[{number}]: expected 'id', 'image' and 'label'; add them.")
        image = folder / str(case["image"]) if "image" in case else None
        names = _names(path, dataset, case, error_class)
        id, label, patient = (str(case.get(key, "")) for key in ("id", "label", "patient"))
        found.append(LabelledCase(id, folder / label, image, names, patient))
    return tuple(found)


def _names(
    path: Path, dataset: Mapping[str, Any], case: Mapping[str, Any], error_class: type[SamMoeError]
) -> dict[int, str]:
    """Names by value: the case's own, else the set's; a description in words names nothing."""
    try:
        if own := case.get("label_names"):
            return {label_value(value): str(name) for value, name in own.items()}
        shared = dataset.get("labels")
        if not isinstance(shared, dict):
            return {}
        return {label_value(value): str(name) for name, value in shared.items()}
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise error_class(
            f'{path}: labels of a case: expected {{"liver": 1}}, or label_names {{"1": "liver"}}; mend them.'
        ) from error


def _paired(folder: Path, error_class: type[SamMoeError]) -> tuple[LabelledCase, ...]:
    if not all((folder / name).is_dir() for name in ("images", "labels")):
        raise error_class(
            f"{folder}: holds no labelled scans. Expected a folder with a {DATASET}, or with images/ and "
            "labels/ that hold files of the same names."
        )
    images, labels = (_ordinary(folder / name, error_class) for name in ("images", "labels"))
    if lacking := sorted(set(images) ^ set(labels)):
        raise error_class(
            f"{folder}: {', '.join(lacking[:5])}: only in one of images/ and labels/. "
            "Expected each case in both under the same name."
        )
    return tuple(LabelledCase(id, labels[id], images[id], {}) for id in sorted(images))


def _ordinary(folder: Path, error_class: type[SamMoeError]) -> dict[str, Path]:
    """The volumes of a folder by name without suffix; pipes and folders named as volumes are none."""
    return {name: path for name, path in volumes_in(folder, error_class).items() if path.is_file()}
