import json
import math

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import settings as sized
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.spatial import KDTree

from sam_moe.evaluation.scoring import metrics
from sam_moe.evaluation.scoring.official import (
    aggregate,
    border,
    hd95_mm,
    metrics_json,
    official,
)

ISOTROPIC = (1.0, 1.0, 1.0)
MIDDLE = (3, 3, 3)


def cube(missing=(), shape=(7, 7, 7)):
    """A cube of 27 voxels around MIDDLE, without those at the given places from its middle."""
    mask = np.zeros(shape, dtype=bool)
    mask[2:5, 2:5, 2:5] = True
    for place in missing:
        mask[tuple(m + p for m, p in zip(MIDDLE, place, strict=True))] = False
    return mask


CORNERS = [(a, b, c) for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)]


def test_the_border_of_a_cube_is_all_but_its_middle():
    assert border(cube()).sum() == 26 and not border(cube())[MIDDLE]


def test_a_missing_corner_does_not_make_the_middle_border():
    # 26 neighbours would; of 18 none is a corner
    assert border(cube(CORNERS)).sum() == 18 and not border(cube(CORNERS))[MIDDLE]


def test_a_missing_edge_makes_the_middle_border():
    # 6 neighbours would not: the voxel at (0, 1, 1) touches the middle along an edge only
    assert border(cube([(0, 1, 1)]))[MIDDLE]


def test_beyond_the_image_all_is_foreground():
    half = np.zeros((6, 6, 6), dtype=bool)
    half[:3] = True
    expected = np.zeros_like(half)
    expected[2] = True  # only the layer that faces the other half
    assert np.array_equal(border(half), expected)


def test_hd95_is_worked_by_hand():
    truth, answer = np.zeros((9, 9, 9), dtype=bool), np.zeros((9, 9, 9), dtype=bool)
    truth[4, 4, 1] = True
    answer[4, 4, 1:8] = True
    # from the answer to the truth: 0, 2, …, 12 mm; place 0.95 * 6 = 5.7 in order: 10 + 0.7 * 2
    assert hd95_mm(truth, answer, (1.0, 1.0, 2.0)) == pytest.approx(11.4)


def script_hd95(truth, answer, spacing_mm):
    """The script's way: ITK's erosion, a k-d tree of points."""
    points = []
    for mask in (truth, answer):
        image = sitk.GetImageFromArray(mask.astype(np.uint8))
        edge = sitk.GetArrayFromImage(sitk.Subtract(image, sitk.BinaryErode(image, (1, 1, 1))))
        points.append(np.argwhere(edge) * np.array(spacing_mm))
    if not all(len(p) for p in points):
        return None
    there, back = KDTree(points[0]).query(points[1])[0], KDTree(points[1]).query(points[0])[0]
    return max(np.percentile(there, 95), np.percentile(back, 95))


masks = arrays.arrays(bool, (5, 6, 4), elements=st.booleans()).filter(lambda mask: mask.any())


@given(masks, masks, st.tuples(*[st.sampled_from([0.7, 1.0, 3.0])] * 3))
@sized(max_examples=25)
def test_hd95_is_that_of_itks_erosion_and_a_tree_of_points(truth, answer, spacing_mm):
    expected = script_hd95(truth, answer, spacing_mm)
    found = hd95_mm(truth, answer, spacing_mm)
    assert found == (None if expected is None else pytest.approx(expected))


@given(st.integers(0, 3), st.integers(0, 3), st.integers(1, 6))
@sized(max_examples=20)
def test_hd95_of_thick_masks_is_the_scripts_at_the_images_edge_too(at, shift, edge):
    truth, answer = np.zeros((8, 9, 10), dtype=bool), np.zeros((8, 9, 10), dtype=bool)
    truth[:edge, at : at + edge, 2:8] = True
    answer[:edge, at + shift : at + shift + edge, 1:9] = True
    expected = script_hd95(truth, answer, ISOTROPIC)
    assert hd95_mm(truth, answer, ISOTROPIC) == (None if expected is None else pytest.approx(expected))


def test_an_empty_answer_has_no_hd95():
    assert official(cube(), np.zeros_like(cube()), ISOTROPIC) == {"dice": 0, "hd95_mm": None, "vs": 0}


def test_two_empty_masks_have_no_numbers():
    empty = np.zeros_like(cube())
    assert official(empty, empty, ISOTROPIC) == {"dice": None, "hd95_mm": None, "vs": None}


def test_a_mask_without_a_border_has_no_hd95():
    whole = np.ones((4, 4, 4), dtype=bool)
    assert official(whole, whole, ISOTROPIC) == {"dice": 1, "hd95_mm": None, "vs": 1}


def test_dice_and_vs_are_worked_by_hand():
    answer = cube(CORNERS)  # 19 of 27
    found = official(cube(), answer, ISOTROPIC)
    assert found["dice"] == pytest.approx(2 * 19 / 46) and found["vs"] == pytest.approx(1 - 8 / 46)


CASES = {
    "1_1": {"dice": 0.9, "hd95_mm": 1.0, "vs": 0.9},
    "1_2": {"dice": 0.5, "hd95_mm": 3.0, "vs": 0.7},
    "2_1": {"dice": 0.0, "hd95_mm": None, "vs": 0.0},
    "2_2": {"dice": 0.7, "hd95_mm": 11.0, "vs": 0.8},
}


def test_what_is_called_mean_is_the_median_of_what_is_there():
    found = aggregate(CASES)
    assert found["dice"]["mean"] == pytest.approx(0.6)  # 0, 0.5, 0.7, 0.9
    assert found["hd95_mm"]["mean"] == 3  # of 1, 3, 11: the missed tumour has dropped out
    assert found["hd95_mm"]["std"] == pytest.approx(math.sqrt((16 + 4 + 36) / 3))  # around 5


def test_missing_a_tumour_improves_the_official_distance():
    missed = {**CASES, "2_2": {"dice": 0.0, "hd95_mm": None, "vs": 0.0}}
    assert aggregate(missed)["hd95_mm"]["mean"] == 2 < 3


def test_the_spread_of_vs_alone_keeps_nan():
    assert aggregate(CASES)["vs"]["std"] == pytest.approx(np.std([0.9, 0.7, 0.0, 0.8]))
    broken = {**CASES, "3_1": {"dice": None, "hd95_mm": None, "vs": None}}
    assert aggregate(broken)["vs"] == {"mean": pytest.approx(0.75), "std": None}
    assert aggregate(broken)["dice"]["std"] == pytest.approx(np.std([0.9, 0.5, 0.0, 0.7]))


def test_no_numbers_at_all_are_null():
    assert aggregate({"a": {}})["dice"] == {"mean": None, "std": None}


def test_the_metrics_file_has_the_scripts_keys_and_is_strict_json():
    text = json.dumps(metrics_json(CASES), allow_nan=False)
    found = json.loads(text)
    assert found["case"]["2_1"] == {"Dice": 0.0, "Hausdorff": None, "Volumetric_similarity": 0.0}
    assert set(found["aggregates"]) == {"Dice", "Hausdorff", "Volumetric_similarity"}
    assert found["aggregates"]["Hausdorff"]["mean"] == 3


def test_official_dice_is_the_recommended_one_where_there_is_a_target():
    answer = cube([(1, 1, 1)])
    assert official(cube(), answer, ISOTROPIC)["dice"] == metrics.dice(cube(), answer)


def test_an_empty_mask_has_no_distance_and_two_have_no_number_at_all():
    empty, full = np.zeros((4, 5, 6), dtype=bool), np.ones((4, 5, 6), dtype=bool)
    assert official(empty, empty, ISOTROPIC) == {"dice": None, "hd95_mm": None, "vs": None}
    for pair in ((full, empty), (empty, full)):
        assert official(*pair, ISOTROPIC) == {"dice": 0.0, "hd95_mm": None, "vs": 0.0}
    assert official(full, full, ISOTROPIC) == {"dice": 1.0, "hd95_mm": None, "vs": 1.0}  # no border at all
