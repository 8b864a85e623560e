import json
from dataclasses import replace

import pytest
import torch

from sam_moe.errors import ConfigError, PromptError
from sam_moe.evaluation.challenge.challenge import cases_of, load_challenge
from sam_moe.evaluation.grand_challenge.rehearsal import rehearse
from tests.evaluation.drawn import pairs, yaml_at
from tests.evaluation.fake_sppin import make_fake_sppin


@pytest.fixture
def plain_cases(tmp_path, no_data_folder):
    pairs(tmp_path / "set", ["p1.before", "p1.after"])
    one = "{layout: folders, root: set, patient: '^(p[0-9])', fixed: {site: here}}"
    text = f"name: c\nsets: [{one}]\nlabels: {{two: [2]}}"
    return cases_of(load_challenge(yaml_at(tmp_path, text)))


def truth_itself(case, opened):
    return next(iter(opened.truths.values())).array


def bright(case, opened):
    return (opened.scan.array > 150).to(torch.uint8)


def test_a_rehearsal_goes_through_the_files_of_both_containers(plain_cases, tmp_path):
    seen = []

    def answer(case, opened):
        seen.append((case.id, int(opened.scan.array[0, 0, 0])))
        return next(iter(opened.truths.values())).array

    rows = rehearse(plain_cases, answer, tmp_path / "run", system="mine")
    assert seen == [("p1.after", 1), ("p1.before", 0)]  # each with its own scan
    assert [(row.case, row.patient, row.label, row.dice, row.system) for row in rows] == [
        ("p1.after", "p1", "two", 1, "mine"),
        ("p1.before", "p1", "two", 1, "mine"),
    ]
    assert rows[0].strata == {"site": "here"}
    (given,) = (tmp_path / "run" / "algorithm" / "p1.after" / "input" / "images" / "image").iterdir()
    assert given.suffix == ".mha"
    assert (tmp_path / "run" / "algorithm/p1.after/output/images/segmentation/overlay.mha").is_file()
    jobs = json.loads((tmp_path / "run" / "input" / "predictions.json").read_text())
    assert [job["inputs"][0]["image"]["name"] for job in jobs] == ["p1.after.mha", "p1.before.mha"]
    assert json.loads((tmp_path / "run" / "output" / "metrics.json").read_text())["recommended"]["n"] == 2


def test_a_case_that_is_refused_has_a_job_without_a_mask(plain_cases, tmp_path, caplog):
    def answer(case, opened):
        if case.id == "p1.after":
            raise PromptError("cannot be answered")
        return next(iter(opened.truths.values())).array

    after, before = rehearse(plain_cases, answer, tmp_path / "run")
    assert (after.status, before.status) == ("missing", "ok")
    assert "p1.after: no answer: cannot be answered" in caplog.text


def test_a_case_that_cannot_be_read_is_a_failed_row_and_the_others_go_on(plain_cases, tmp_path):
    (plain_cases[0].images["image"]).write_bytes(b"no scan")
    before, after = rehearse(plain_cases, truth_itself, tmp_path / "run")
    assert (before.case, before.status, before.dice) == ("p1.before", "ok", 1)
    assert (after.case, after.status, after.patient) == ("p1.after", "failed", "p1")
    assert after.volume_error_ml == after.truth_ml == pytest.approx(8 * 0.012)  # 8 voxels of 2 x 2 x 3 mm
    for case in plain_cases:
        case.images["image"].write_bytes(b"no scan")
    with pytest.raises(ConfigError, match="none of the 2 cases can be read"):
        rehearse(plain_cases, truth_itself, tmp_path / "again")


def test_what_was_not_annotated_counts_for_nothing_in_the_containers_either(plain_cases, tmp_path):
    case = replace(plain_cases[0], ignored=(1,))

    def too_much(case, opened):
        return truth_itself(case, opened).to(torch.uint8) | torch.from_numpy(opened.ignored).to(torch.uint8)

    (row,) = rehearse([case], too_much, tmp_path / "run")
    assert (row.dice, row.hd95_mm, row.predicted_ml) == (1, 0, pytest.approx(8 * 0.012))


def test_two_structures_have_no_place_in_a_container(tmp_path, no_data_folder):
    pairs(tmp_path / "set", ["a"])
    text = "name: c\nsets: [{layout: folders, root: set}]\nlabels: {one: [1], two: [2]}"
    cases = cases_of(load_challenge(yaml_at(tmp_path, text)))
    with pytest.raises(ConfigError, match="a: has the structures one, two. Expected one"):
        rehearse(cases, truth_itself, tmp_path / "run")


def test_of_several_structures_a_case_is_asked_about_the_one_it_has(tmp_path, no_data_folder):
    pairs(tmp_path / "set", ["a"])
    text = "name: c\nsets: [{layout: folders, root: set}]\nlabels: {two: [2], nowhere: [7]}"
    cases = cases_of(load_challenge(yaml_at(tmp_path, text)))
    asked = []

    def answer(case, opened):
        asked.append([*case.labels])
        return next(iter(opened.truths.values())).array

    (row,) = rehearse(cases, answer, tmp_path / "run")
    assert asked == [["two"]] and (row.label, row.dice) == ("two", 1)


def test_a_folder_that_is_not_empty_is_refused(plain_cases, tmp_path):
    with pytest.raises(ConfigError, match="not empty"):
        rehearse(plain_cases, truth_itself, tmp_path)


def test_what_a_killed_rehearsal_left_is_cleared_and_a_new_one_starts(plain_cases, tmp_path):
    class Killed(BaseException):
        pass

    def dies(case, opened):
        left = tmp_path / "out" / ".sam-moe-0123"
        left.mkdir()
        raise Killed

    with pytest.raises(Killed):
        rehearse(plain_cases, dies, tmp_path / "out" / "run")
    assert not (tmp_path / "out" / "run").exists()
    assert len(rehearse(plain_cases, truth_itself, tmp_path / "out" / "run")) == 2
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["run"]


def test_the_fake_sppin_is_rehearsed_with_its_four_series(tmp_path):
    cases = cases_of(load_challenge(make_fake_sppin(tmp_path / "sppin", patients=1)))
    rows = rehearse(cases, bright, tmp_path / "run")
    # the first T1 is with contrast, the second one without
    assert [(row.case, row.patient, row.status) for row in rows] == [
        ("PT_01_1", "PT_01", "ok"),
        ("PT_01_2", "PT_01", "empty"),
    ]
    folders = sorted(path.name for path in (tmp_path / "run/algorithm/PT_01_1/input/images").iterdir())
    assert folders == ["abdominal-mr_b0", "abdominal-mr_b100", "abdominal-mr_t1", "abdominal-mr_t2"]
