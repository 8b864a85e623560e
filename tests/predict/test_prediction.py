"""The records that come back."""

import pytest
import torch

from sam_moe.errors import GeometryError
from sam_moe.predict.answered import Answered
from sam_moe.predict.prediction import Prediction
from sam_moe.prompts import Point, Prompt
from sam_moe.space.files import read
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume

GRID = Grid.around((0, 0, 0), (10, 10, 10), (1, 1, 2))


def prediction(array, **more):
    details = {
        "region": GRID,
        "model_id": "tiny",
        "cached": False,
        "timings_ms": {"encode": 30.0, "decode": 8.0},
    }
    return Prediction(Volume(array, GRID), GRID, Prompt((Point((1, 1, 1)),)), **(details | more))


def cube():
    array = torch.zeros(10, 10, 10)
    array[2:7, 2:7, 2:7] = 0.9
    return array


def test_one_line_says_what_was_found_by_whom_and_how_long_it_took():
    assert str(prediction(cube())) == "125 voxels, 0.2 ml · tiny · 38 ms"  # 125 * 2 mm³ = 0.25 ml
    assert str(prediction(cube(), cached=True)).endswith("38 ms (embedding cached)")


def test_the_line_names_the_expert_that_answered_and_how_sure_the_gate_was():
    who = Answered({"cord": 1.0}, {"tiny": 0.19, "cord": 0.81}, "threshold 0.81 >= 0.5")
    told = str(prediction(cube(), cached=True, model_id="mixture", answered=who))
    assert told == "125 voxels, 0.2 ml · mixture · cord 0.81 · 38 ms (embedding cached)"


def test_of_a_plain_model_there_is_nobody_to_explain():
    assert prediction(cube()).explain() == "tiny answered: a model alone, with nobody to choose"


def test_dice_is_twice_the_overlap_over_both():
    truth = torch.zeros(10, 10, 10, dtype=torch.uint8)
    truth[2:7, 2:7, 2:4] = 1
    assert prediction(cube()).dice(Volume(truth, GRID)) == 2 * 50 / (125 + 50)
    empty = prediction(torch.zeros(10, 10, 10))
    assert empty.dice(Volume(torch.zeros(10, 10, 10), GRID)) == 1.0


def test_dice_refuses_a_truth_on_another_grid():
    other = Grid.around((0, 0, 0), (10, 10, 10), (1, 1, 3))
    with pytest.raises(GeometryError, match="Expected one grid"):
        prediction(cube()).dice(Volume(torch.zeros(10, 10, 10), other))


def test_a_saved_mask_comes_back_on_the_scans_grid(tmp_path):
    path = tmp_path / "mask.nii.gz"
    prediction(cube()).save(path)
    found = read(path)
    assert found.grid.same_as(GRID) and torch.equal(found.array.bool(), cube() > 0.5)
