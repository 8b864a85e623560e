import json

import pytest
import torch

from sam_moe.errors import ConfigError
from sam_moe.evaluation.challenge.challenge import cases_of, load_challenge
from sam_moe.evaluation.grand_challenge.container import read_inputs, write_inputs, write_jobs, write_output
from sam_moe.evaluation.grand_challenge.judging import judge, truths_of
from sam_moe.space.files import read
from tests.evaluation.drawn import label_map, write_labels
from tests.evaluation.fake_sppin import make_fake_sppin

NAMES = {"41_1": "PT_41_MR_T1_1.mha", "41_2": "PT_41_MR_T1_2.mha", "46_1": "PT_46_MR_T1_1.mha"}


@pytest.fixture
def truths(tmp_path):
    mask = (label_map() == 1).to(torch.uint8)
    for case in NAMES:
        write_labels(tmp_path / "ground-truth" / case / "truth.mha", mask)
    return truths_of(tmp_path / "ground-truth")


def judged(tmp_path, truths, masks):
    answers = {
        case: (NAMES.get(case, f"PT_{case.replace('_', '_MR_T1_')}.mha"), mask)
        for case, mask in masks.items()
    }
    write_jobs(answers, tmp_path / "input")
    rows = judge(truths, tmp_path / "input", tmp_path / "output")
    text = (tmp_path / "output" / "metrics.json").read_text()
    return {row.case: row for row in rows}, json.loads(text, parse_constant=pytest.fail)


def half(tmp_path):
    """12 of the 24 voxels."""
    mask = (label_map() == 1).to(torch.uint8)
    mask[:, :, 4] = 0
    return write_labels(tmp_path / "half.mha", mask)


def test_metrics_have_the_official_numbers_and_beside_them_the_recommended_ones(tmp_path, truths):
    empty = write_labels(tmp_path / "empty.mha", torch.zeros_like(label_map()))
    masks = {"41_1": truths["41_1"], "41_2": half(tmp_path), "46_1": empty}
    rows, metrics = judged(tmp_path, truths, masks)
    assert {case: row.status for case, row in rows.items()} == {"41_1": "ok", "41_2": "ok", "46_1": "empty"}
    assert metrics["case"]["41_2"]["Dice"] == pytest.approx(2 * 12 / 36)
    assert metrics["case"]["46_1"] == {"Dice": 0, "Hausdorff": None, "Volumetric_similarity": 0}
    # 0 and 3 mm: the tumour that was missed has dropped out of the median
    assert metrics["aggregates"]["Hausdorff"]["mean"] == pytest.approx(1.5)
    assert metrics["aggregates"]["Dice"]["mean"] == pytest.approx(2 / 3)
    honest = metrics["recommended"]
    assert honest["aggregates"]["dice"]["mean"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert honest["aggregates"]["hd95_mm"]["mean"] > 10
    assert (honest["n"], honest["n_missed"], honest["extra"]) == (3, 1, [])
    assert "18-connected" in honest["definitions"]["official.hd95_mm"]


def test_cases_without_a_job_or_a_mask_are_missed_and_jobs_without_a_case_listed(tmp_path, truths):
    rows, metrics = judged(tmp_path, truths, {"41_1": truths["41_1"], "41_2": None, "99_1": half(tmp_path)})
    assert {case: row.status for case, row in rows.items()} == {
        "41_1": "ok",
        "41_2": "missing",
        "46_1": "missing",
    }
    assert rows["46_1"].reason == "no job of this case" and "found none" in rows["41_2"].reason
    assert metrics["recommended"]["n_missed"] == 2 and metrics["recommended"]["extra"] == ["99_1"]
    assert metrics["case"]["46_1"]["Dice"] is None


def test_figures_of_an_older_run_are_gone_where_a_new_one_fails(tmp_path, truths):
    judged(tmp_path, truths, dict(truths))
    (tmp_path / "input" / "predictions.json").write_text("no jobs")
    with pytest.raises(ConfigError, match="not readable as JSON"):
        judge(truths, tmp_path / "input", tmp_path / "output")
    assert not (tmp_path / "output" / "metrics.json").exists()


def test_what_is_255_in_a_truth_was_not_annotated(tmp_path, truths):
    """24 voxels of truth; the answer has 12 of them, and 8 where nothing was annotated: 2 * 12 / 36."""
    labels = (label_map() == 1).to(torch.uint8)
    labels[label_map() == 2] = 255
    write_labels(truths["41_1"], labels)
    answer = (label_map() == 1).to(torch.uint8)
    answer[:, :, 4] = 0
    answer[label_map() == 2] = 1
    rows, _ = judged(tmp_path, truths, {**truths, "41_1": write_labels(tmp_path / "answer.mha", answer)})
    assert rows["41_1"].dice == pytest.approx(2 * 12 / 36)


def test_a_mask_of_0_and_255_is_refused_with_its_reason(tmp_path, truths):
    bad = write_labels(tmp_path / "bad.mha", (label_map() == 1).to(torch.uint8) * 255)
    _, metrics = judged(tmp_path, truths, dict.fromkeys(NAMES, bad))
    assert metrics["recommended"]["case"]["41_1"]["status"] == "unexpected_label"
    assert metrics["recommended"]["aggregates"]["dice"]["mean"] == 0


def test_scans_of_one_patient_belong_together(tmp_path, truths):
    rows, _ = judged(tmp_path, truths, dict(truths))
    assert [row.patient for row in rows.values()] == ["41", "41", "46"]


def test_a_truth_without_a_target_is_refused(tmp_path, truths):
    write_labels(truths["41_1"], torch.zeros_like(label_map()))
    with pytest.raises(ConfigError, match="no target"):
        judged(tmp_path, truths, dict(truths))


def test_truths_lie_in_a_folder_a_case(tmp_path, truths):
    assert list(truths) == ["41_1", "41_2", "46_1"]
    write_labels(tmp_path / "ground-truth" / "41_1" / "second.mha")
    with pytest.raises(ConfigError, match="41_1: expected one label map, found 2"):
        truths_of(tmp_path / "ground-truth")
    with pytest.raises(ConfigError, match="no such folder"):
        truths_of(tmp_path / "nowhere")
    (tmp_path / "none").mkdir()
    with pytest.raises(ConfigError, match="no cases in it"):
        truths_of(tmp_path / "none")


def test_the_fake_sppin_goes_through_both_containers(tmp_path):
    """An algorithm that thresholds T1: its container's files in and out, then the evaluation's."""
    cases = cases_of(load_challenge(make_fake_sppin(tmp_path / "sppin", patients=2)))
    answers, truths = {}, {}
    for case in cases:
        _, patient, time = case.id.split("_")
        inside, outside = tmp_path / case.id / "input", tmp_path / case.id / "output"
        write_inputs(case.images, inside)
        t1 = read(read_inputs(inside)["T1"])
        mask = write_output((t1.array > 150).to(torch.uint8), t1.grid, outside)
        answers[f"{patient}_{time}"] = (f"PT_{patient}_MR_T1_{time}.mha", mask)
        truths[f"{patient}_{time}"] = case.truth
    write_jobs(answers, tmp_path / "input")
    rows = judge(truths, tmp_path / "input", tmp_path / "output")
    metrics = json.loads((tmp_path / "output" / "metrics.json").read_text())
    # with contrast the tumour is brighter than 150 on T1, without it nothing is
    assert {row.case: row.status for row in rows} == {
        "01_1": "ok",
        "01_2": "empty",
        "02_1": "empty",
        "02_2": "ok",
    }
    assert min(row.dice for row in rows if row.status == "ok") > 0.9
    assert metrics["recommended"]["n_missed"] == 2
    assert (
        metrics["aggregates"]["Hausdorff"]["mean"]
        < 10
        < metrics["recommended"]["aggregates"]["hd95_mm"]["mean"]
    )
