"""The project's own labelled cases by part of `splits.json`, one structure at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sam_moe.cases.dataset import DATASET, LabelledCase, read_dataset
from sam_moe.cases.splits import cases_of_part, data_folder
from sam_moe.config import read_object
from sam_moe.errors import ConfigError
from sam_moe.space.files import read, same_grid
from sam_moe.space.volume import Volume

ROOT = Path(__file__).resolve().parents[1]
SPLITS = ROOT / "benchmarks" / "splits.json"
DATA = data_folder(None, ROOT / "../shared/data")
LEAST_VOXELS = 40


@dataclass(frozen=True)
class Case:
    """A scan and the mask of one of its structures."""

    set: str
    case: str
    structure: str
    scan: Volume
    truth: Volume


@cache
def expert_labels() -> frozenset[str]:
    """Labels that experts were made for, left out of the general model's training."""
    return frozenset(read_object(SPLITS, ConfigError)["expert_labels"])


def part_of(part: str) -> dict[str, list[LabelledCase]]:
    """The cases of a part by set: sets by name, cases in the order of the splits file; no scan is opened."""
    found: dict[str, list[LabelledCase]] = {}
    for name, case in cases_of_part(DATA, SPLITS, part):
        found.setdefault(name, []).append(case)
    return found


@cache
def described(name: str) -> dict[str, dict[str, Any]]:
    """The fields of each case in a set's description, by the case's name; `modality`, `label_voxels`, ..."""
    return {case["id"]: case for case in read_object(DATA / name / DATASET, ConfigError)["cases"]}


def label_names(case: LabelledCase) -> dict[int, str]:
    """The names of a case's labels by value; background left out."""
    return {value: name for value, name in case.names.items() if value > 0}


@cache
def _by_name(name: str) -> dict[str, LabelledCase]:
    return {case.id: case for case in read_dataset(DATA / name)}


def read_case(name: str, case: str) -> tuple[Volume, Volume]:
    """The scan and its label map, on one grid."""
    found = _by_name(name)[case]
    assert found.image is not None, f"{name}: {case} has no image"
    scan, label = read(found.image), read(found.label)
    same_grid(scan.grid, label.grid)
    return scan, label


def general_cases(part: str, least_voxels: int = LEAST_VOXELS) -> Iterator[Case]:
    """Every structure that the general model is for, in every case of a part, but no expert's label."""
    for name, found in part_of(part).items():
        for case in found:
            names = {v: n for v, n in label_names(case).items() if n not in expert_labels()}
            if not names or case.image is None:
                continue
            scan, label = read_case(name, case.id)
            for value, structure in names.items():
                mask = label.array == value
                if int(mask.sum()) >= least_voxels:
                    yield Case(name, case.id, structure, scan, Volume(mask, label.grid))
