"""A data set small enough for a test: two drawn patients with labels, described as the real sets are."""

import json

import numpy as np
import torch

from sam_moe.space.files import write_mask, write_volume
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume

GRID = Grid(np.diag([2.0, 2.0, 3.0, 1.0]), (24, 22, 16))
# Values of the drawn labels: a liver of 480 voxels, an esophagus of 100, a spot of 8.
LIVER, ESOPHAGUS, SPOT = 1, 2, 3
SPLITS = {
    "sets": {"drawn": {"train": [], "validation": ["a"], "test": ["b", "no-image"]}},
    "expert_labels": ["esophagus"],
}


def labels():
    """The label map of both patients."""
    array = torch.zeros(GRID.shape, dtype=torch.uint8)
    array[4:14, 5:13, 4:10] = LIVER
    array[17:19, 5:10, 2:12] = ESOPHAGUS
    array[20:22, 16:18, 12:14] = SPOT
    return array


def write_set(folder):
    """The set `drawn` in a folder: case a, case b with label names of its own, and one case without image."""
    rng = torch.Generator().manual_seed(0)
    cases = []
    for case in ("a", "b"):
        noise = torch.randint(-20, 21, GRID.shape, generator=rng, dtype=torch.int16)
        bright = 300 * (labels() > 0).to(torch.int16)
        (folder / "drawn" / "images").mkdir(parents=True, exist_ok=True)
        (folder / "drawn" / "labels").mkdir(exist_ok=True)
        write_volume(folder / "drawn" / "images" / f"{case}.nii.gz", Volume(noise + bright + 100, GRID))
        write_mask(folder / "drawn" / "labels" / f"{case}.nii.gz", labels(), GRID)
        cases.append(
            {
                "id": case,
                "image": f"images/{case}.nii.gz",
                "label": f"labels/{case}.nii.gz",
                "modality": "CT",
                "label_voxels": {"1": 480, "2": 100, "3": 8},
            }
        )
    cases[1]["label_names"] = {"0": "background", "1": "liver of b", "3": "spot of b"}
    cases.append({"id": "no-image", "label": "labels/b.nii.gz", "label_voxels": {"1": 480}})
    described = {"labels": {"background": 0, "liver": 1, "esophagus": 2, "spot": 3}, "cases": cases}
    (folder / "drawn" / "dataset.json").write_text(json.dumps(described), encoding="utf-8")
    (folder / "splits.json").write_text(json.dumps(SPLITS), encoding="utf-8")
    return folder
