"""Challenges small enough for a test: drawn patients in each layout, with known label maps."""

import json

import numpy as np
import torch

from sam_moe.space.files import write_mask, write_volume
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume

SHAPE = (10, 9, 8)
GRID = Grid(np.diag([-2.0, -2.0, 3.0, 1.0]), SHAPE)  # LPS, as SimpleITK has images


def label_map():
    """Structure 1 in a box of 24 voxels, structure 2 in one of 8, structure 3 in a single voxel."""
    labels = torch.zeros(SHAPE, dtype=torch.uint8)
    labels[1:5, 2:5, 3:5] = 1
    labels[6:8, 2:4, 3:5] = 2
    labels[8, 8, 6] = 3
    return labels


def image(value=0):
    """Whole numbers, each voxel its own, so that mixed-up axes are found."""
    return (torch.arange(720).reshape(SHAPE) + value).to(torch.int16)


def write_image(path, value=0, grid=GRID):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(path, Volume(image(value), grid))
    return path


def write_labels(path, labels=None, grid=GRID):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_mask(path, label_map() if labels is None else labels, grid)
    return path


def pairs(root, names, images="images", truths="labels", suffix=".nii.gz"):
    for number, name in enumerate(names):
        write_image(root / images / f"{name}{suffix}", number)
        write_labels(root / truths / f"{name}{suffix}")
    return root


def yaml_at(folder, text, name="challenge.yaml"):
    path = folder / name
    path.write_text(text)
    return path


def dataset_json(root, table):
    (root / "dataset.json").write_text(json.dumps(table))
    return root
