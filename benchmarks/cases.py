"""Real cases of one part of the splits, one structure at a time, for the benchmarks."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sam_moe.space.files import read, same_grid
from sam_moe.space.volume import Volume

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("SAM_MOE_DATA", ROOT / "../shared/data"))
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
def splits() -> dict[str, Any]:
    """The splits file: `sets`, by name and part, and `expert_labels`."""
    table: dict[str, Any] = json.loads((ROOT / "benchmarks" / "splits.json").read_text(encoding="utf-8"))
    return table


@cache
def cases_of(name: str) -> dict[str, dict[str, Any]]:
    """What a set's description says of each case, by the case's id."""
    dataset = json.loads((DATA / name / "dataset.json").read_text(encoding="utf-8"))
    return {case["id"]: {"labels": dataset.get("labels"), **case} for case in dataset["cases"]}


def label_names(name: str, case: str) -> dict[int, str]:
    """The names of a case's labels by value, its own before the set's; background left out."""
    details = cases_of(name)[case]
    own, common = details.get("label_names"), details["labels"]
    if own:
        names = {int(value): structure for value, structure in own.items()}
    else:
        names = {int(v): structure for structure, v in common.items()} if isinstance(common, dict) else {}
    return {value: structure for value, structure in names.items() if value > 0}


def read_case(name: str, case: str) -> tuple[Volume, Volume]:
    """The scan and its label map, on one grid."""
    details = cases_of(name)[case]
    scan, label = (read(DATA / name / details[kind]) for kind in ("image", "label"))
    same_grid(scan.grid, label.grid)
    return scan, label


def general_cases(part: str, least_voxels: int = LEAST_VOXELS) -> Iterator[Case]:
    """Every structure that the general model is for, in every case of a part, but no expert's label."""
    for name, parts in splits()["sets"].items():
        for case in parts[part]:
            names = label_names(name, case)
            names = {v: n for v, n in names.items() if n not in splits()["expert_labels"]}
            if not names or "image" not in cases_of(name)[case]:
                continue
            scan, label = read_case(name, case)
            for value, structure in names.items():
                mask = label.array == value
                if int(mask.sum()) >= least_voxels:
                    yield Case(name, case, structure, scan, Volume(mask, label.grid))
