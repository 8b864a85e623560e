"""Real cases of one part of the splits, one structure at a time, for the benchmarks."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sam_moe.space.files import read, same_grid
from sam_moe.space.volume import Volume

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("SAM_MOE_DATA", ROOT / "../shared/data"))


@dataclass(frozen=True)
class Case:
    """A scan and the mask of one of its structures."""

    set: str
    case: str
    structure: str
    scan: Volume
    truth: Volume


def general_cases(part: str, least_voxels: int = 40) -> Iterator[Case]:
    """Every structure that the general model is for, in every case of a part, but no expert's label."""
    splits = json.loads((ROOT / "benchmarks" / "splits.json").read_text(encoding="utf-8"))
    for name, parts in splits["sets"].items():
        folder = DATA / name
        dataset = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
        details = {case["id"]: case for case in dataset["cases"]}
        for case in parts[part]:
            own = details[case].get("label_names")
            labels = dataset["labels"] if isinstance(dataset.get("labels"), dict) else {}
            names = {int(v): n for v, n in own.items()} if own else {int(v): n for n, v in labels.items()}
            names = {v: n for v, n in names.items() if v > 0 and n not in splits["expert_labels"]}
            if not names or "image" not in details[case]:
                continue
            scan, label = (read(folder / details[case][kind]) for kind in ("image", "label"))
            same_grid(scan.grid, label.grid)
            for value, structure in names.items():
                mask = label.array == value
                if int(mask.sum()) >= least_voxels:
                    yield Case(name, case, structure, scan, Volume(mask, label.grid))
