"""A segmentation is a label map that knows what it was made of."""

import json

import pytest
import torch

from sam_moe import LabelMap
from sam_moe.predict.automatic.result import Segmentation
from sam_moe.predict.automatic.which import Likeness
from sam_moe.space.files import read
from sam_moe.space.grid import Grid
from tests.predict.automatic.bands import BLOCK

GRID = Grid.around((0, 0, 0), (10, 10, 10), (2, 2, 5))  # voxels of 20 microlitres


@pytest.fixture
def found():
    labels = torch.zeros(GRID.shape, dtype=torch.uint8)
    labels[:5, :5, :2] = 2
    return Segmentation(
        labels,
        GRID,
        {1: "grey", 2: "bright"},
        likeness=Likeness(
            BLOCK, False, {"block": 1.234, "shade": None}, {"block": "CT of a block", "shade": "MR"}
        ),
        shares={"down.3": {"blocks": 0.75, "shades": 0.25}, "middle": {"shades": 0.75, "blocks": 0.25}},
        model_id="bands",
        timings_ms={"look": 100.0, "answer": 200.0},
    )


def test_volumes_are_voxels_times_their_size_and_what_is_not_found_is_named(found):
    assert found.volumes_ml == {"grey": 0.0, "bright": pytest.approx(50 * 0.02)}
    assert found.not_found == ("grey",)
    assert isinstance(found, LabelMap) and found.predictions == {}


def test_the_experts_are_the_mean_over_places(found):
    assert found.experts == {"blocks": 0.5, "shades": 0.5}


def test_a_person_reads_what_it_was_taken_for_what_was_found_and_what_was_not(found):
    assert str(found).splitlines() == [
        "like CT of a block · bands · blocks 0.50 + shades 0.50 · 300 ms",
        "bright  1.0 ml",
        "not found: grey",
    ]


def test_it_explains_distances_and_places(found):
    assert found.explain().splitlines() == [
        "like CT of a block",
        "  CT of a block: distance 1.23",
        "  MR: no reference",
        "  down.3: blocks 0.75 + shades 0.25",
        "  middle: shades 0.75 + blocks 0.25",
    ]


def test_it_is_saved_with_its_names(found, tmp_path):
    found.save(tmp_path / "labels.nii.gz")
    assert torch.equal(read(tmp_path / "labels.nii.gz").array, found.labels)
    assert json.loads((tmp_path / "labels.labels.json").read_text()) == {"1": "grey", "2": "bright"}
