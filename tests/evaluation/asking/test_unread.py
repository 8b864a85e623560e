"""A case that cannot be read has the worst values, worked out by hand, and improves no mean."""

from dataclasses import replace

import numpy as np
import pytest

from sam_moe.evaluation.asking.unread import UNKNOWN_DIAGONAL_MM, reason_of, unread_rows
from sam_moe.evaluation.results import read_rows, write_rows
from sam_moe.evaluation.scoring.summary import summarise
from tests.evaluation.rows import row

SETUP = {"mine": ("click1", "click2"), "theirs": ("given",)}
DIAGONAL_MM = np.linalg.norm([10 * 2, 9 * 2, 8 * 3])


def test_of_a_readable_label_map_the_whole_target_is_the_error(case):
    """24 voxels of 2 x 2 x 3 mm are 0.288 ml, 8 are 0.096 ml."""
    case.images["image"].write_bytes(b"no scan")
    rows = list(unread_rows(case, SETUP, "no scan"))
    assert [(r.system, r.label, r.prompt, r.step) for r in rows] == [
        ("mine", "one", "click1", 0),
        ("mine", "one", "click2", 1),
        ("mine", "two", "click1", 0),
        ("mine", "two", "click2", 1),
        ("theirs", "one", "given", 0),
        ("theirs", "two", "given", 0),
    ]
    for found in rows:
        wanted = 0.288 if found.label == "one" else 0.096
        assert found.volume_error_ml == found.truth_ml == pytest.approx(wanted)
        assert (found.dice, found.nsd, found.vs, found.predicted_ml, found.status) == (0, 0, 0, 0, "failed")
        assert found.hd95_mm == pytest.approx(DIAGONAL_MM)
        assert found.reason == "the case cannot be read: no scan"


def test_of_no_label_map_the_volumes_are_unknown(case, tmp_path):
    case.truth.write_bytes(b"no labels")
    rows = list(unread_rows(case, SETUP, "no labels"))
    assert len(rows) == 6
    assert {(r.volume_error_ml, r.truth_ml) for r in rows} == {(None, None)}
    assert [r.hd95_mm for r in rows] == pytest.approx([DIAGONAL_MM] * 6)  # the scan's header is sound
    case.images["image"].unlink()
    assert {r.hd95_mm for r in unread_rows(case, SETUP, "")} == {UNKNOWN_DIAGONAL_MM}
    write_rows(tmp_path / "rows.csv", rows)
    assert list(read_rows(tmp_path / "rows.csv")) == rows


def test_what_a_readable_label_map_lacks_is_no_target(case):
    lacking = replace(case, labels={"one": (1,), "nowhere": (7,)})
    lacking.images["image"].unlink()
    assert {found.label for found in unread_rows(lacking, SETUP, "")} == {"one"}


def test_an_archive_without_spacing_has_no_volume_in_millilitres(case, tmp_path):
    np.savez(tmp_path / "a.npz", gts=np.ones((4, 4, 4), np.uint8))
    found = next(unread_rows(replace(case, truth=tmp_path / "a.npz"), SETUP, ""))
    assert found.volume_error_ml is None
    np.savez(tmp_path / "a.npz", gts=np.ones((4, 4, 4), np.uint8), spacing=(1, 1, 2))
    found = next(unread_rows(replace(case, truth=tmp_path / "a.npz"), SETUP, ""))
    assert found.volume_error_ml == pytest.approx(0.128)


def test_a_case_that_cannot_be_read_does_not_improve_the_mean_volume_error():
    """Three errors of 14.1 ml and one unknown: 14.1, where 0 for the unknown one would make 10.575."""
    rows = [row(case=f"c{n}", patient=f"p{n}", volume_error_ml=14.1) for n in range(3)]
    unknown = {"volume_error_ml": None, "truth_ml": None, "nsd": 0, "status": "failed"}
    figures = summarise([*rows, row(0, case="c4", patient="p4", **unknown)])["all"]["small"]["click1"]
    assert figures["volume_error_ml"]["mean"] == pytest.approx(14.1)
    assert (figures["volume_error_ml"]["n"], figures["volume_error_ml"]["n_missed"]) == (3, 1)
    assert (figures["dice"]["n"], figures["dice"]["mean"]) == (4, pytest.approx(0.375))


def test_targets_of_unknown_volume_are_in_no_third_of_the_volumes():
    sized = [row(case=f"c{n}", patient=f"p{n}", truth_ml=float(n + 1)) for n in range(9)]
    lost = row(0, case="lost", patient="lost", truth_ml=None, volume_error_ml=None, status="failed")
    thirds = summarise([*sized, lost])["strata"]["volume"]
    assert [own["small"]["click1"]["dice"]["n"] for own in thirds.values()] == [3, 3, 3]


def test_an_error_that_is_not_ours_says_its_kind():
    assert reason_of(MemoryError()) == "MemoryError: MemoryError"
    assert reason_of(ValueError("two\nlines")) == "ValueError: lines"
