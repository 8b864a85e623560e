"""Drawn bodies whose numbers say what and where a voxel is, and the settings to learn from them."""

import json
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sam_moe.registry.automatic import AboveMean, DataSet, Label, Window
from sam_moe.space.files import write_mask, write_volume
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume
from sam_moe.training.slices.keeping import keep_slices
from sam_moe.training.slices.settings import SliceData

SHAPE = (40, 30, 8)
# LPS, as SimpleITK has images: stored from the patient's right to the left, and from front to back.
GRID = Grid(np.diag([-2.0, -2.0, 3.0, 1.0]), SHAPE)
VALUES = {"left": 7, "right": 2, "deep": 5, "target": 9}
SPLITS = {"bodies": {"train": ["a", "b"], "validation": ["c"], "test": ["d"]}}


def body(without=()):
    """Labels of a body: left the smaller, right the larger, in slices 2 to 4; deep in 5 and 6; a target."""
    labels = torch.zeros(SHAPE, dtype=torch.uint8)
    labels[28:33, 10:18, 2:5] = VALUES["left"]  # stored towards the patient's left
    labels[5:16, 8:20, 2:5] = VALUES["right"]
    labels[20:22, 14:17, 5:7] = VALUES["deep"]
    labels[1:4, 1:4, 0:8] = VALUES["target"]
    for name in without:
        labels[labels == VALUES[name]] = 0
    return labels


def scan_of(labels, offset=0):
    """100 in slice 0, 10 more each slice up, 300 more in left, 400 in right, 500 in deep, 200 in target."""
    steps = torch.arange(SHAPE[2]) * 10 + 100 + offset
    image = steps.expand(SHAPE).clone()
    for name, more in {"left": 300, "right": 400, "deep": 500, "target": 200}.items():
        image[labels == VALUES[name]] += more
    return image.to(torch.int16)


def write_case(root, name, labels, offset=0):
    for part in ("images", "labels"):
        (root / part).mkdir(parents=True, exist_ok=True)
    write_volume(root / "images" / f"{name}.nii.gz", Volume(scan_of(labels, offset), GRID))
    write_mask(root / "labels" / f"{name}.nii.gz", labels, GRID, None)


def listed(name):
    return {"id": name, "image": f"images/{name}.nii.gz", "label": f"labels/{name}.nii.gz"}


def write_data(place):
    """`bodies` with a splits file, of which b lacks deep; `plain`, images and labels without names."""
    root = place / "data"
    for number, name in enumerate("abcd"):
        write_case(root / "bodies", name, body(without=("deep",) if name == "b" else ()), number)
    for number, name in enumerate("ab"):
        write_case(root / "plain", f"p{name}", body(), number)
    table = {"labels": VALUES, "cases": [listed(name) for name in "abcd"]}
    (root / "bodies" / "dataset.json").write_text(json.dumps(table))
    (place / "splits.json").write_text(json.dumps({"sets": SPLITS}))
    return root


def source_at(place, root="bodies", part="", **keys):
    splits = {"splits": str(place / "splits.json"), "part": part} if part else {}
    return {"layout": "folders", "root": root, **splits, **keys}


def data_at(place, **sets):
    everything = {
        "bodies-ct": {part: [source_at(place, part=part)] for part in ("train", "validation")},
        "plain-mr": {"train": [source_at(place, "plain", labels={"dextra": [2], "sinistra": [7]})]},
    }
    given = {name.replace("_", "-"): sources for name, sources in sets.items()}
    return SliceData.model_validate({"folder": place / "data", "sets": {**everything, **given}})


@pytest.fixture
def folder(tmp_path):
    """The data folder, to be changed."""
    return write_data(tmp_path)


def data_set(id="bodies-ct", labels=("left", "right", "deep"), **changes):
    plain = {
        "title": "CT of bodies",
        "modality": "CT",
        "expert": "bodies",
        "spacing_mm": (2.0, 2.0, 3.0),
        "intensity": Window(low=0, high=1000),
        "labels": tuple(Label(name=name) for name in labels),
    }
    return DataSet(id=id, **{**plain, **changes})


BODIES = data_set()
# The larger voxels of another kind of scan; its two labels are known by values alone.
PLAIN = data_set("plain-mr", ("dextra", "sinistra"), spacing_mm=(3.0, 2.0, 3.0), intensity=AboveMean())


@pytest.fixture
def source(tmp_path):
    """Makes a source's settings, as a recipe would have them."""
    return partial(source_at, tmp_path)


@pytest.fixture
def data(folder, tmp_path):
    """Makes the settings of bodies and plain; what is given replaces the sources of a set."""
    return partial(data_at, tmp_path)


@pytest.fixture
def both():
    """The data sets of `data`, in the order of heads."""
    return (BODIES, PLAIN)


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """The train part of both sets, not to be changed: a and b of bodies, then pa and pb of plain."""
    place = tmp_path_factory.mktemp("drawn")
    write_data(place)
    return keep_slices(data_at(place), (BODIES, PLAIN), "train", place / "run")


@pytest.fixture
def drawn():
    """What the tests of this folder draw by hand."""
    return SimpleNamespace(body=body, scan_of=scan_of, write_case=write_case, grid=GRID, values=VALUES)
