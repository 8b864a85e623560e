import numpy as np
import pytest

from sam_moe.errors import GeometryError
from sam_moe.evaluation.results import Row
from sam_moe.evaluation.scoring.scores import score, worst

SPACING_MM = (10.0, 10.0, 10.0)  # a voxel is a millilitre


def mask(voxels, shape=(3, 4, 12)):
    found = np.zeros(shape, dtype=bool)
    found.reshape(-1)[:voxels] = True
    return found


def row(scores):
    return Row(system="s", case="c", patient="p", label="l", prompt="box", step=0, **scores)


def test_a_good_answer_has_all_numbers():
    found = score(mask(10), mask(8), SPACING_MM)
    assert found["status"] == "ok" and found["reason"] == ""
    assert (found["truth_ml"], found["predicted_ml"], found["volume_error_ml"]) == pytest.approx((10, 8, 2))
    assert found["dice"] == pytest.approx(16 / 18) and found["vs"] == pytest.approx(1 - 2 / 18)
    assert found["official"]["dice"] == found["dice"]


def test_the_tolerance_is_that_of_the_surface_dice():
    shifted = np.roll(mask(12), 1, axis=1)
    assert (
        score(mask(12), shifted, SPACING_MM, 1.0)["nsd"] < score(mask(12), shifted, SPACING_MM, 11.0)["nsd"]
    )


def test_an_empty_answer_has_the_worst_values_and_says_so():
    found = score(mask(10), mask(0), SPACING_MM)
    assert found["status"] == "empty" and "empty" in found["reason"]
    assert (found["dice"], found["nsd"], found["vs"]) == (0, 0, 0)
    assert found["hd95_mm"] == pytest.approx(130)  # 30, 40, 120, 130
    assert found["volume_error_ml"] == pytest.approx(10)
    assert found["official"] == {"dice": 0, "hd95_mm": None, "vs": 0}


def test_no_answer_is_worth_as_little_as_an_empty_one():
    empty, none = score(mask(10), mask(0), SPACING_MM), worst(mask(10), SPACING_MM, "missing", "no file")
    differing = {"status", "reason", "official"}
    assert {k: v for k, v in none.items() if k not in differing} == {
        k: v for k, v in empty.items() if k not in differing
    }
    assert (none["status"], none["reason"]) == ("missing", "no file")
    assert none["official"] == {"dice": None, "hd95_mm": None, "vs": None}


def test_scores_are_the_fields_of_a_row():
    assert row(score(mask(10), mask(8), SPACING_MM)).missed is False
    assert row(worst(mask(10), SPACING_MM, "failed", "it raised")).missed is True


def test_a_target_that_is_not_there_is_refused():
    with pytest.raises(GeometryError, match="no target to score"):
        score(mask(0), mask(3), SPACING_MM)


def test_masks_of_two_shapes_are_refused():
    with pytest.raises(GeometryError, match="one grid"):
        score(mask(3), mask(3, (4, 3, 12)), SPACING_MM)
