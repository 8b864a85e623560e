"""Every case is asked about once, by whichever process; what cannot be read or answered is a row."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from sam_moe.evaluation.asking.casefile import case_path, read_casefile
from sam_moe.evaluation.asking.locks import claimed
from sam_moe.evaluation.asking.protocols import scripts_for
from sam_moe.evaluation.asking.runner import Work, ask_case, work_through
from sam_moe.evaluation.asking.unread import UNKNOWN_DIAGONAL_MM
from sam_moe.evaluation.challenge.challenge import cases_of
from sam_moe.space.files import read, write_mask
from tests.evaluation.answerers import Bright, Growing, phantoms

STEPS = ["click1", "click2", "click3", "click4", "click5"]


def silent(stage, share):
    pass


@pytest.fixture
def work(tmp_path):
    challenge = phantoms(tmp_path / "set")
    out = tmp_path / "out"
    (out / "cases").mkdir(parents=True)
    return Work(challenge, cases_of(challenge), scripts_for("clicks,box"), out)


def test_a_case_has_a_row_for_each_structure_and_step_and_says_what_was_said(work):
    found = ask_case(work, work.cases[1], [Growing()])
    assert [row.prompt for row in found.rows] == [*STEPS, "box"]
    assert {(row.case, row.patient, row.label, row.status) for row in found.rows} == {
        ("p1_a", "p1", "ball", "ok")
    }
    # A ball of 17 mm of which 12 mm are found around the click: (12/17)^3 = 0.35 of it, Dice 0.52.
    assert found.rows[0].dice == pytest.approx(0.52, abs=0.05)
    assert found.rows[0].answered == {"all": 1.0} and found.rows[0].confidence == {"all": 0.75}
    recorded = found.prompts["growing"]
    assert [target.name for target in recorded.targets] == ["ball · clicks", "ball · box"]
    assert recorded.image == "../set/images/p1_a.nii.gz" and recorded.fingerprint


def test_a_system_is_not_asked_what_it_does_not_understand(work):
    clicked = Growing()
    clicked.supports = frozenset({"point"})
    assert [row.prompt for row in ask_case(work, work.cases[0], [clicked]).rows] == STEPS


def test_a_system_that_fails_has_rows_that_say_so_and_the_next_one_its_own(work):
    found = ask_case(work, work.cases[0], [Growing("bad", fails_on="answer"), Growing()])
    bad = [row for row in found.rows if row.system == "bad"]
    assert {row.status for row in bad} == {"failed"} and len(bad) == 6
    assert bad[0].reason == "RuntimeError: out of memory" and bad[0].dice == 0 and bad[0].truth_ml > 0
    assert {row.status for row in found.rows if row.system == "growing"} == {"ok"}


def test_a_system_that_cannot_take_up_the_scan_has_failed_at_every_step(work):
    class Closed(Growing):
        def open(self, scan):
            raise ValueError("too large for me")

    rows = ask_case(work, work.cases[0], [Closed()]).rows
    assert [row.prompt for row in rows] == [*STEPS, "box"]
    assert {(row.status, row.reason) for row in rows} == {("failed", "ValueError: too large for me")}


@pytest.mark.parametrize("broken", ["images", "labels"])
def test_a_truncated_file_is_a_row_for_each_step_and_the_run_goes_on(work, broken):
    case = work.cases[0]
    path = case.images["image"] if broken == "images" else case.truth
    path.write_bytes(path.read_bytes()[:300])
    found = ask_case(work, case, [Growing()])
    assert [(row.prompt, row.status) for row in found.rows] == [(step, "failed") for step in (*STEPS, "box")]
    assert "cannot be read" in found.rows[0].reason and found.notes
    known = np.linalg.norm(np.array((24, 22, 20)) * (3, 3, 4))
    assert found.rows[0].hd95_mm in (pytest.approx(known), UNKNOWN_DIAGONAL_MM)
    work_through(work, [Growing()], silent)
    assert all(case_path(work.out, case.id).is_file() for case in work.cases)


def test_what_is_absent_is_left_out_and_said(tmp_path):
    challenge = phantoms(tmp_path, labels={"ball": [1], "stone": [7]})
    work = Work(challenge, cases_of(challenge), scripts_for("click"), tmp_path / "out")
    found = ask_case(work, work.cases[0], [Growing()])
    assert [row.label for row in found.rows] == ["ball"]
    assert found.notes == ("p0_a: left out as absent or too small: stone",)


def test_cases_that_are_finished_are_not_asked_about_again(work):
    first, second = Growing(), Growing()
    work_through(work, [first], silent)
    kept = case_path(work.out, "p1_a").read_bytes()
    case_path(work.out, "p2_a").unlink()
    work_through(work, [second], silent)
    assert first.asked == 3 * second.asked
    assert case_path(work.out, "p1_a").read_bytes() == kept


def test_a_case_that_another_has_is_left_to_it_until_nothing_else_is_left(work):
    order = []
    path = case_path(work.out, "p0_a")
    with claimed(path) as ours:
        assert ours
        with claimed(path) as again:
            assert not again
    work_through(work, [Growing()], lambda stage, share: order.append((stage, share)))
    assert [stage for stage, _ in order] == [f"case {n} of 3: p{n - 1}_a" for n in (1, 2, 3)]
    assert [share for _, share in order] == [0, 1 / 3, 2 / 3]


def test_a_process_whose_parent_has_died_stops(work):
    work_through(replace(work, parent=1_000_000), [Growing()], silent)
    assert not any(case_path(work.out, case.id).is_file() for case in work.cases)


def test_masks_are_kept_on_the_scans_grid_with_the_challenges_numbers(tmp_path):
    challenge = phantoms(tmp_path / "set", 1, labels={"stone": [7], "ball": [1]})
    work = Work(challenge, cases_of(challenge), scripts_for("click"), tmp_path / "out")
    (row,) = ask_case(work, work.cases[0], [Growing()]).rows
    kept = read(tmp_path / "out" / "predictions" / "growing" / "p0_a.nii.gz")
    assert kept.grid.same_as(read(tmp_path / "set" / "images" / "p0_a.nii.gz").grid)
    assert kept.array.unique().tolist() == [0, 2]  # the second of the challenge's structures
    assert int((kept.array == 2).sum()) * kept.grid.voxel_ml == pytest.approx(row.predicted_ml)


def test_a_case_file_reads_back_to_the_last_bit(work):
    work_through(work, [Growing()], silent)
    again = ask_case(work, work.cases[2], [Growing()])
    kept = read_casefile(case_path(work.out, "p2_a"))
    assert kept.prompts == again.prompts
    for a, b in zip(kept.rows, again.rows, strict=True):
        assert a.model_copy(update={"seconds": b.seconds}) == b


def test_without_a_prompt_a_scan_is_segmented_once_and_each_structure_is_a_row(tmp_path):
    """A structure that the system does not find is empty; one that it does not know is missing."""
    labels = {"ball": [1], "stone": [2], "moon": [3]}
    challenge = phantoms(tmp_path / "set", 1, labels=labels)
    truth = tmp_path / "set" / "labels" / "p0_a.nii.gz"
    volume = read(truth)
    volume.array[0, 0, :2] = torch.tensor([2, 3], dtype=volume.array.dtype)
    write_mask(truth, volume.array, volume.grid)
    work = Work(challenge, cases_of(challenge), scripts_for("automatic,click"), tmp_path / "out")
    bright = Bright()
    found = ask_case(work, work.cases[0], [bright, Growing()])
    own = {row.label: row for row in found.rows if row.system == "bright"}
    assert bright.segmented == 1 and list(own) == ["ball", "stone", "moon"]
    assert {row.prompt for row in own.values()} == {"automatic"}
    assert own["ball"].status == "ok" and own["ball"].dice > 0.99 and own["ball"].reason == "like CT"
    assert own["ball"].answered == {"ct": 0.9, "mr": 0.1}
    assert own["stone"].status == "empty" and own["stone"].dice == 0
    assert own["stone"].reason == "the prediction is empty; like CT"
    assert (own["moon"].status, own["moon"].reason) == ("missing", "bright knows no moon")
    assert len({row.seconds for row in own.values()}) == 1
    assert [row.prompt for row in found.rows if row.system == "growing"] == ["click1"] * 3
    assert list(found.prompts) == ["growing"]
    assert [target.name for target in found.prompts["growing"].targets] == ["ball", "stone", "moon"]


def test_a_structure_of_several_names_is_the_union_of_their_masks(tmp_path):
    """As a set's own table names the parts of what a challenge has as one."""
    halves = {"left": 1, "right": 2}
    challenge = phantoms(tmp_path / "set", 1, labels={"ball": ["left", "right"]})
    path = tmp_path / "set" / "labels" / "p0_a.nii.gz"
    volume = read(path)
    volume.array[12:] *= 2
    write_mask(path, volume.array, volume.grid)
    case = {"id": "p0_a", "image": "images/p0_a.nii.gz", "label": "labels/p0_a.nii.gz"}
    (tmp_path / "set" / "dataset.json").write_text(json.dumps({"cases": [case], "labels": halves}))
    work = Work(challenge, cases_of(challenge), scripts_for("automatic"), tmp_path / "out")
    (row,) = ask_case(work, work.cases[0], [Bright(halves=True)]).rows
    assert row.label == "ball" and row.status == "ok" and row.dice > 0.99


@pytest.mark.parametrize(
    ("fails_on", "status", "reason"),
    [
        ("open", "failed", "ValueError: too large for me"),
        ("segment", "failed", "RuntimeError: out of memory"),
        ("grid", "wrong_grid", "the answer has shape (23, 22, 20), the scan (24, 22, 20)"),
    ],
)
def test_a_system_without_prompts_that_fails_has_the_worst_values(work, fails_on, status, reason):
    work = replace(work, scripts=scripts_for("automatic"))
    (row,) = ask_case(work, work.cases[0], [Bright(fails_on=fails_on)]).rows
    assert (row.prompt, row.status, row.reason, row.dice) == ("automatic", status, reason, 0.0)
    assert row.volume_error_ml == row.truth_ml > 0


def test_a_scan_that_cannot_be_read_is_a_row_of_a_system_without_prompts(work):
    work = replace(work, scripts=scripts_for("automatic,clicks"))
    path = work.cases[0].images["image"]
    path.write_bytes(path.read_bytes()[:300])
    found = ask_case(work, work.cases[0], [Bright(), Growing()])
    assert [(row.system, row.prompt) for row in found.rows] == [
        ("bright", "automatic"),
        *(("growing", step) for step in STEPS),
    ]
