import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from sam_moe.errors import ConfigError
from sam_moe.evaluation.asking.predictions import checksum, extra_rows, match, score_given
from sam_moe.evaluation.challenge.challenge import cases_of, load_challenge, open_case
from sam_moe.evaluation.results import read_rows, write_rows
from sam_moe.space.files import write_volume
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume
from tests.evaluation.drawn import GRID, label_map, pairs, write_labels, yaml_at

DIAGONAL_MM = np.linalg.norm([20, 18, 24])


def asked_for():
    """The label map without structure 3, which the case does not ask for."""
    return label_map() * (label_map() < 3)


def rows_of(case, path, **keys):
    return {row.label: row for row in score_given(case, open_case(case), path, "given", **keys)}


def floats(path, array):
    write_volume(path, Volume(array, GRID))
    return path


def all_worst(rows, status):
    assert {row.status for row in rows.values()} == {status}
    for row in rows.values():
        assert (row.dice, row.nsd, row.vs) == (0, 0, 0)
        assert row.hd95_mm == pytest.approx(DIAGONAL_MM) and row.volume_error_ml == row.truth_ml > 0
        assert row.missed and row.official == {"dice": None, "hd95_mm": None, "vs": None}
    return "; ".join(row.reason for row in rows.values())


def test_the_truth_itself_is_perfect(case, tmp_path):
    rows = rows_of(case, write_labels(tmp_path / "p.nii.gz", asked_for()))
    assert [(row.label, row.status, row.dice, row.nsd, row.hd95_mm) for row in rows.values()] == [
        ("one", "ok", 1, 1, 0),
        ("two", "ok", 1, 1, 0),
    ]
    assert rows["one"].truth_ml == pytest.approx(24 * 0.012) and rows["one"].strata == {"modality": "CT"}
    assert (rows["one"].case, rows["one"].patient, rows["one"].prompt) == ("c1", "p1", "given")


def test_a_structure_that_was_not_found_is_empty(case, tmp_path):
    labels = (label_map() == 1).to(torch.uint8)
    rows = rows_of(case, write_labels(tmp_path / "p.mha", labels))
    assert (rows["one"].status, rows["two"].status) == ("ok", "empty")
    assert rows["two"].hd95_mm == pytest.approx(DIAGONAL_MM)


def test_a_case_without_a_file_is_missing(case):
    assert "no file" in all_worst(rows_of(case, None), "missing")


@pytest.mark.parametrize("keep", [0, 10, 60, 300])
def test_a_truncated_file_is_unreadable(case, tmp_path, keep):
    path = write_labels(tmp_path / "p.nii.gz", torch.randint(0, 3, (40, 9, 8)).to(torch.uint8)[:10])
    path.write_bytes(path.read_bytes()[:keep])
    reason = all_worst(rows_of(case, path), "unreadable")
    assert "p.nii.gz" in reason and str(tmp_path) not in reason


def test_words_in_a_nifti_are_unreadable(case, tmp_path):
    path = tmp_path / "p.nii"
    path.write_text("no mask at all " * 100)
    all_worst(rows_of(case, path), "unreadable")


@pytest.mark.parametrize(
    "content", [b"PK\x03\x04 cut short", b"\x93NUMPY\x01\x00", b"\x80\x04K\x01.", b"", b"words"]
)
def test_an_archive_that_is_none_is_unreadable(case, tmp_path, content):
    (tmp_path / "p.npz").write_bytes(content)
    reason = all_worst(rows_of(case, tmp_path / "p.npz"), "unreadable")
    assert "p.npz" in reason and str(tmp_path) not in reason and "\n" not in reason


def test_a_pickled_answer_has_bad_values(case, tmp_path):
    np.savez(tmp_path / "p.npz", segs=np.array([[[{}]]], dtype=object))
    assert "not pickled" in all_worst(rows_of(case, tmp_path / "p.npz"), "bad_values")


def test_a_mask_with_its_axes_in_another_order_is_brought_into_the_cases(case, tmp_path):
    """What nibabel and ITK do to one file: the same voxels at the same places, axes k, j, i and j flipped."""
    turn = np.array([[0, 0, 1, 0], [0, -1, 0, 8], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    turned = Grid(GRID.affine @ turn, (8, 9, 10))
    path = write_labels(tmp_path / "p.nii.gz", asked_for().permute(2, 1, 0).flip(1), turned)
    assert {(row.status, row.dice, row.reason) for row in rows_of(case, path).values()} == {("ok", 1, "")}


def test_what_is_answered_where_nothing_was_annotated_counts_for_nothing(case, tmp_path):
    """One of 24 voxels is half found: 12 right, 12 missed; what lies in structure 3's voxel is not false."""
    case = replace(case, labels={"one": (1,)}, ignored=(2, 3))
    labels = (label_map() == 1).to(torch.uint8)
    labels[:, :, 4] = 0
    labels[label_map() == 3] = 1
    labels[label_map() == 2] = 1
    (row,) = rows_of(case, write_labels(tmp_path / "p.nii.gz", labels)).values()
    assert row.dice == pytest.approx(2 * 12 / (24 + 12)) and row.predicted_ml == pytest.approx(12 * 0.012)
    labels = (label_map() > 1).to(torch.uint8)
    (row,) = rows_of(case, write_labels(tmp_path / "p.nii.gz", labels)).values()
    assert (row.status, row.dice, row.predicted_ml) == ("empty", 0, 0)


def shifted(mm):
    affine = GRID.affine.copy()
    affine[0, 3] += mm
    return Grid(affine, GRID.shape)


def test_a_mask_on_another_grid_is_refused_and_both_grids_are_shown(case, tmp_path):
    path = write_labels(tmp_path / "p.nii.gz", (label_map() == 1).to(torch.uint8), shifted(2.0))
    reason = all_worst(rows_of(case, path), "wrong_grid")
    assert reason.count("10x9x8 voxels") == 4 and "--resample" in reason


def test_a_mask_of_another_shape_is_on_another_grid(case, tmp_path):
    smaller = Grid(GRID.affine, (9, 9, 8))
    path = write_labels(tmp_path / "p.nii.gz", asked_for()[:9], smaller)
    all_worst(rows_of(case, path), "wrong_grid")


def test_headers_that_are_rounded_are_no_other_grid(case, tmp_path):
    path = write_labels(tmp_path / "p.nii.gz", asked_for(), shifted(0.01))  # a two hundredth of a voxel
    assert rows_of(case, path)["one"].status == "ok"


def test_resampling_is_done_when_allowed_and_recorded(case, tmp_path):
    half = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, -0.25], [0, 0, 0, 1.0]])
    path = write_labels(tmp_path / "p.nii.gz", asked_for(), Grid(GRID.affine @ half, GRID.shape))
    assert "--resample" in all_worst(rows_of(case, path), "wrong_grid")
    row = rows_of(case, path, resample=True)["one"]
    assert row.status == "ok" and row.dice == 1  # a quarter of a slice off, the nearest is the same
    assert row.reason.startswith("resampled (nearest): p.nii.gz: it lies on Grid(10x9x8 voxels")


def test_nan_is_a_bad_value(case, tmp_path):
    array = (label_map() == 1).float()
    array[0, 0, 0] = float("nan")
    assert "NaN" in all_worst(rows_of(case, floats(tmp_path / "p.nii.gz", array)), "bad_values")


def test_probabilities_are_bad_values(case, tmp_path):
    path = floats(tmp_path / "p.nii.gz", (label_map() == 1) * 0.7)
    assert "threshold" in all_worst(rows_of(case, path), "bad_values")


def test_whole_numbers_in_floats_are_a_mask(case, tmp_path):
    rows = rows_of(case, floats(tmp_path / "p.nii.gz", asked_for().float()))
    assert rows["one"].dice == 1


def test_0_and_255_are_an_unexpected_label(case, tmp_path):
    path = write_labels(tmp_path / "p.mha", (label_map() == 1).to(torch.uint8) * 255)
    reason = all_worst(rows_of(case, path), "unexpected_label")
    assert "has values 255. Expected 0 and 1, 2; renumber them" in reason


def test_structures_that_nobody_asks_for_may_stay_but_no_others(case, tmp_path):
    """The case's own map has a 3 that the challenge does not name; a 4 stands nowhere."""
    rows = rows_of(case, write_labels(tmp_path / "p.nii.gz"))
    assert {(row.status, row.dice) for row in rows.values()} == {("ok", 1)}
    labels = label_map()
    labels[0, 0, 0] = 4
    reason = all_worst(rows_of(case, write_labels(tmp_path / "q.nii.gz", labels)), "unexpected_label")
    assert "has values 4. Expected" in reason


def test_a_table_beside_the_mask_names_its_own_values(case, tmp_path):
    labels = torch.zeros_like(label_map())
    labels[label_map() == 1], labels[label_map() == 2], labels[label_map() == 3] = 7, 9, 200
    path = write_labels(tmp_path / "p.nii.gz", labels)
    table = tmp_path / "p.labels.json"
    table.write_text(json.dumps({"7": "one", "9": "two", "200": "liver"}))
    rows = rows_of(case, path)
    assert (rows["one"].dice, rows["two"].dice) == (1, 1)
    table.write_text(json.dumps({"7": "one", "9": "spleen", "200": "liver"}))
    rows = rows_of(case, path)
    assert (rows["one"].status, rows["two"].status) == ("ok", "missing")
    table.write_text("{")
    all_worst(rows_of(case, path), "unreadable")


def test_a_folder_may_have_a_mask_for_each_structure(case, tmp_path):
    folder = tmp_path / "c1"
    write_labels(folder / "one.nii.gz", (label_map() == 1).to(torch.uint8))
    rows = rows_of(case, folder)
    assert (rows["one"].dice, rows["one"].status) == (1, "ok")
    assert (rows["two"].status, rows["two"].reason) == ("missing", "no file c1/two")
    write_labels(folder / "two.nii.gz", (label_map() == 2).to(torch.uint8) * 255)
    assert rows_of(case, folder)["two"].status == "unexpected_label"
    assert rows_of(case, folder)["one"].status == "ok"


def test_masks_in_an_archive_lie_on_the_cases_grid(case, tmp_path):
    segs = asked_for().numpy().transpose(2, 1, 0)
    np.savez(tmp_path / "c1.npz", segs=segs)
    assert rows_of(case, tmp_path / "c1.npz")["two"].dice == 1


@pytest.fixture
def challenge(tmp_path, no_data_folder):
    pairs(tmp_path / "set", ["a", "b", "c"])
    text = "name: c\nsets: [{layout: folders, root: set}]\nlabels: {one: [1], two: [2]}"
    return cases_of(load_challenge(yaml_at(tmp_path, text)))


def test_every_case_has_its_rows_and_a_foreign_file_one_more(challenge, tmp_path):
    folder = tmp_path / "masks"
    write_labels(folder / "a.nii.gz", asked_for())
    write_labels(folder / "b.mha", label_map() * 50)
    write_labels(folder / "z.nii.gz")
    (folder / "notes.txt").write_text("not a mask")
    given = match(challenge, folder)
    rows = [
        row
        for case in challenge
        for row in score_given(case, open_case(case), given.files.get(case.id), "theirs")
    ]
    rows += extra_rows(given, "theirs")
    assert [(row.case, row.label, row.status) for row in rows] == [
        ("a", "one", "ok"),
        ("a", "two", "ok"),
        ("b", "one", "unexpected_label"),
        ("b", "two", "unexpected_label"),
        ("c", "one", "missing"),
        ("c", "two", "missing"),
        ("z.nii.gz", "", "extra"),
    ]
    assert not rows[-1].counts and {row.system for row in rows} == {"theirs"}
    write_rows(tmp_path / "rows.csv", rows)
    assert list(read_rows(tmp_path / "rows.csv")) == rows


def test_another_mask_table_or_name_is_another_checksum(challenge, tmp_path):
    folder = tmp_path / "masks"
    write_labels(folder / "a.nii.gz", asked_for())
    (folder / "b").mkdir()
    write_labels(folder / "b" / "one.nii.gz", asked_for())
    found = [checksum(match(challenge, folder))]
    (folder / "notes.txt").write_text("not a mask")
    assert checksum(match(challenge, folder)) == found[0]
    (folder / "a.labels.json").write_text('{"1": "one"}')
    found.append(checksum(match(challenge, folder)))
    write_labels(folder / "b" / "one.nii.gz", label_map() == 1)
    found.append(checksum(match(challenge, folder)))
    (folder / "b").rename(folder / "c")
    found.append(checksum(match(challenge, folder)))
    assert len(set(found)) == 4


def test_two_files_of_one_case_are_refused(challenge, tmp_path):
    for suffix in (".nii.gz", ".mha"):
        write_labels(tmp_path / "masks" / f"a{suffix}")
    with pytest.raises(ConfigError, match=r"case a has both a.mha and a.nii.gz"):
        match(challenge, tmp_path / "masks")


def test_an_archive_beside_a_volume_is_taken_for_its_probabilities(challenge, tmp_path):
    write_labels(tmp_path / "masks" / "a.nii.gz")
    np.savez(tmp_path / "masks" / "a.npz", probabilities=np.zeros((2, 3, 3, 3)))
    given = match(challenge, tmp_path / "masks")
    assert given.files["a"].name == "a.nii.gz" and given.extra == ()


def test_a_folder_in_which_nothing_is_named_after_a_case_is_refused(challenge, tmp_path):
    write_labels(tmp_path / "masks" / "case_a.nii.gz")
    with pytest.raises(ConfigError, match="none of its 1 masks is named after one of the 3 cases, such as a"):
        match(challenge, tmp_path / "masks")
    with pytest.raises(ConfigError, match="no such folder"):
        match(challenge, tmp_path / "nowhere")
