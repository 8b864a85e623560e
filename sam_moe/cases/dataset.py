"""A set of labelled scans: a `dataset.json` that lists its cases, or images/ and labels/ of the same names.

`dataset.json` has `cases` (`id`, `image`, `label`; without `image` a label map alone; perhaps `patient`) and
`labels` (name: id); a case whose labels have other ids carries its own `label_names` (id: name).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sam_moe.config import read_object
from sam_moe.errors import FileError, SamMoeError

DATASET = "dataset.json"
IGNORE = "ignore"  # what nnU-Net calls voxels that were not annotated

_LARGEST_LABEL = 2**31 - 1
_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")


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
            return {_value(value): str(name) for value, name in own.items()}
        shared = dataset.get("labels")
        return (
            {_value(value): str(name) for name, value in shared.items()} if isinstance(shared, dict) else {}
        )
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise error_class(
            f'{path}: labels of a case: expected {{"liver": 1}}, or label_names {{"1": "liver"}}; mend them.'
        ) from error


def _value(given: Any) -> int:
    value = int(given)
    if not 0 <= value <= _LARGEST_LABEL:
        raise ValueError(f"{given!r} is no label")
    return value


def _paired(folder: Path, error_class: type[SamMoeError]) -> tuple[LabelledCase, ...]:
    if not all((folder / name).is_dir() for name in ("images", "labels")):
        raise error_class(
            f"{folder}: holds no labelled scans. Expected a folder with a {DATASET}, or with images/ and "
            "labels/ that hold files of the same names."
        )
    images, labels = (_files(folder / name, error_class) for name in ("images", "labels"))
    if lacking := sorted(set(images) ^ set(labels)):
        raise error_class(
            f"{folder}: {', '.join(lacking[:5])}: only in one of images/ and labels/. "
            "Expected each case in both under the same name."
        )
    return tuple(LabelledCase(id, labels[id], images[id], {}) for id in sorted(images))


def _files(folder: Path, error_class: type[SamMoeError]) -> dict[str, Path]:
    """The volumes of a folder by name without suffix, whatever its case; hidden files are none.

    macOS puts a hidden `._NAME.nii.gz` beside each file of an archive.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        ending = next((end for end in _ENDINGS if path.name.lower().endswith(end)), None)
        if ending is None or path.name.startswith(".") or not path.is_file():
            continue
        name = path.name[: -len(ending)]
        if name in found:
            raise error_class(
                f"{folder}: {found[name].name} and {path.name} have one name. Expected one file a case; "
                "remove one of them."
            )
        found[name] = path
    return found
