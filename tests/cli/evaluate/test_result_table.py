"""The table of `sam-moe evaluate`: a line a system and prompt, failures counted below."""

from sam_moe.cli.evaluate.result_table import table
from sam_moe.evaluation.results import Result, ResultFolder
from sam_moe.evaluation.scoring.summary import summarise
from tests.evaluation.rows import missing, row, study


def shown(rows, tmp_path, notes=()):
    return table(ResultFolder(tmp_path, tuple(rows), Result(summary=summarise(rows), notes=notes)))


def test_first_and_last_of_a_chain_with_intervals_over_patients(tmp_path):
    lines = shown(study({"small": 0.0, "larger": 0.1}), tmp_path, ("a remark.",)).splitlines()
    assert lines[0].startswith("12 targets of 6 cases, 6 patients")
    assert [line.split()[:2] for line in lines[2:-1]] == [
        ["small", "click1"],
        ["small", "click3"],
        ["larger", "click1"],
        ["larger", "click3"],
    ]
    # 0.4 and 0.02 a patient: mean 0.45, which moves by sqrt(0.007) / 5 = 0.0167 in all; 2.571 times that is
    # 0.174 on the logit scale (slope 0.2475), around -0.201: -0.375 and -0.027.
    assert lines[2].split()[2:4] == ["0.450", "(0.41–0.49)"]
    assert lines[-1] == "a remark."


def test_what_is_missing_is_counted_and_an_extra_file_named(tmp_path):
    rows = [row(0.8), missing(case="b", patient="b"), row(0, case="x", status="extra", patient="", label="")]
    text = shown(rows, tmp_path)
    assert text.startswith("2 targets of 2 cases")
    assert "1 of 2" in text and "missing: 1 answer; extra: 1 file" in text


def test_empty_answers_are_counted_too(tmp_path):
    rows = [row(0.8), *(row(0, case=case, patient=case, status="empty") for case in "bc")]
    assert shown(rows, tmp_path).splitlines()[-1] == "empty: 2 answers"
