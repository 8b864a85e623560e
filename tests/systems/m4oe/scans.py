"""A project's data set and one of nnU-Net, three small cases each, and a recipe that learns from both.

"neck": CT with a cord and a larynx, bright rods along z; its case b has no larynx contoured. "brain": MR with
a hippocampus, of nnU-Net's layout. Each has an expert of its own.
"""

import json

import numpy as np
import torch
import yaml

from sam_moe.space.files import write_mask, write_volume
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume

SHAPE = (16, 14, 4)
NECK, BRAIN = Grid(np.diag([2.5, 2.5, 3.0, 1.0]), SHAPE), Grid(np.diag([1.0, 1.0, 1.0, 1.0]), SHAPE)


def scan_of(labels, base, seed):
    """Noise around `base`, 200 more where a label is, 100 more for the second."""
    noise = 20 * torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))
    return (base + noise + 200 * (labels > 0) + 100 * (labels == 2)).to(torch.int16)


def rods(seed, without=()):
    """Label 1 a rod along z, label 2 another one beside it, shifted a little from case to case."""
    labels = torch.zeros(SHAPE, dtype=torch.uint8)
    labels[4 + seed : 8 + seed, 5:9] = 1
    labels[10 + seed : 13 + seed, 4:8] = 2
    for value in without:
        labels[labels == value] = 0
    return labels


def write_data(root):
    """Both folders and the splits of the first."""
    neck, brain = root / "neck_ct", root / "Dataset001_Brain"
    for folder in (neck / "images", neck / "labels", brain / "imagesTr", brain / "labelsTr"):
        folder.mkdir(parents=True)
    for seed, name in enumerate("abc"):
        labels = rods(seed, (2,) if name == "b" else ())
        write_volume(neck / f"images/{name}.nii.gz", Volume(scan_of(labels, 0, seed), NECK))
        write_mask(neck / f"labels/{name}.nii.gz", labels, NECK, None)
        labels = rods(seed, (2,))
        write_volume(brain / f"imagesTr/b{name}_0000.nii.gz", Volume(scan_of(labels, 500, 10 + seed), BRAIN))
        write_mask(brain / f"labelsTr/b{name}.nii.gz", labels, BRAIN, None)
    listed = [{"id": n, "image": f"images/{n}.nii.gz", "label": f"labels/{n}.nii.gz"} for n in "abc"]
    (neck / "dataset.json").write_text(json.dumps({"labels": {"cord": 1, "larynx": 2}, "cases": listed}))
    table = {"channel_names": {"0": "T1"}, "labels": {"background": 0, "hippocampus": 1}, "numTraining": 3}
    (brain / "dataset.json").write_text(json.dumps({**table, "file_ending": ".nii.gz"}))
    splits = {"sets": {"neck_ct": {"train": ["a", "b"], "validation": ["c"], "test": []}}}
    (root / "splits.json").write_text(json.dumps(splits))
    return root


def phase(name, steps, **keys):
    schedule = {"steps": steps, "batch_size": 4, "learning_rate": 0.01, "warmup": 0, "save_every": 1}
    return {"phase": name, "schedule": schedule, **keys}


def recipe_of(data, run, **changes):
    """A recipe of four short phases."""
    neck = {
        "layout": "folders",
        "root": "neck_ct",
        "splits": str(data / "splits.json"),
        "missing": "uncontoured",
    }
    brain = {"layout": "nnunet", "root": "Dataset001_Brain"}
    return {
        "system": "m4oe",
        "run": str(run),
        "seed": 3,
        "card": {"id": "toy", "title": "A toy", "licence": "CC0-1.0", "not_for": "Anything."},
        "architecture": {
            "host": "conv_unet",
            "image_size": 16,
            "widths": [4, 6, 8],
            "site_levels": 2,
            "mlp_ratio": 2,
            "classes": [3, 2],
        },
        "mixture": {"experts": ["ct", "mr"]},
        "sets": [
            {
                "id": "neck",
                "title": "CT of the neck",
                "modality": "CT",
                "expert": "ct",
                "spacing_mm": [2.5, 2.5, 3.0],
                "intensity": {"kind": "window", "low": -100, "high": 400},
                "labels": [{"name": "cord"}, {"name": "larynx"}],
            },
            {
                "id": "brain",
                "title": "T1 MR of the brain",
                "modality": "MR T1",
                "expert": "mr",
                "spacing_mm": [1.0, 1.0, 1.0],
                "intensity": {"kind": "mean"},
                "labels": [{"name": "hippocampus"}],
            },
        ],
        "data": {
            "folder": str(data),
            "sets": {
                "neck": {part: [{**neck, "part": part}] for part in ("train", "validation")},
                "brain": {
                    "train": [{**brain, "cases": ["ba", "bb"]}],
                    "validation": [{**brain, "cases": ["bc"]}],
                },
            },
        },
        "drawing": {"tile": 16},
        "phases": [
            phase("trunk", 4, validate_every=2),
            phase("masked-mr", 2),
            phase("gate", 2),
            phase("together", 3, validate_every=2),
        ],
        **changes,
    }


def write_recipe(data, run, **changes):
    """The recipe as a file beside its run's folder."""
    path = run.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(recipe_of(data, run, **changes), sort_keys=False))
    return path
