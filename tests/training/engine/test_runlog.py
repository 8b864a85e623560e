"""The diary of a run has every step once, whatever kills there were."""

import json

import pytest

from sam_moe.training.engine.runlog import RunLog, hours_of, read_rows


def steps(folder):
    return [row["step"] for row in read_rows(folder)]


def test_rows_are_lines_of_json_with_the_seconds_since_the_row_before(tmp_path):
    diary = RunLog(tmp_path, 0, 10)
    diary.write({"step": 1, "loss": 0.5})
    diary.write({"step": 2, "loss": 0.25})
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["loss"] for line in lines] == [0.5, 0.25]
    assert all(json.loads(line)["seconds"] >= 0 for line in lines)


def test_whoever_asked_hears_every_row_and_how_many_steps_there_are(tmp_path):
    met = []
    RunLog(tmp_path, 0, 10, report=met.append).write({"step": 4, "loss": 1.0})
    assert [(row["step"], row["steps"], row["loss"]) for row in met] == [(4, 10, 1.0)]
    assert "steps" not in read_rows(tmp_path)[0]


def test_steps_that_will_come_again_are_dropped_and_those_before_stay(tmp_path):
    diary = RunLog(tmp_path, 0, 10)
    for step in (1, 2, 3, 4):
        diary.write({"step": step})
    RunLog(tmp_path, 2, 10).write({"step": 3})
    assert steps(tmp_path) == [1, 2, 3]


def test_a_line_that_a_kill_cut_off_is_dropped(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\n{"step": 2, "lo')
    assert steps(tmp_path) == [1]
    RunLog(tmp_path, 2, 10).write({"step": 3})
    assert steps(tmp_path) == [1, 3]


def test_a_broken_line_in_the_middle_is_not_passed_over(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"step"\n{"step": 2}\n')
    with pytest.raises(json.JSONDecodeError):
        read_rows(tmp_path)


def test_a_process_that_only_helps_writes_nothing(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"step": 9}\n')
    RunLog(tmp_path, 2, 10, main=False, report=pytest.fail).write({"step": 3})
    assert steps(tmp_path) == [9]


def test_hours_are_the_seconds_of_all_rows_or_their_samples_over_their_rate():
    timed = [{"step": 20, "seconds": 1800.0}, {"step": 20, "score": 0.5, "seconds": 900.0}]
    assert hours_of(timed, 4) == 0.75
    # 20 steps of 4 samples at 0.1 a second are 800 s; a validation without seconds counts nothing
    rated = [
        {"step": 20, "samples_per_s": 0.1},
        {"step": 20, "score": 0.5},
        {"step": 40, "samples_per_s": 0.1},
    ]
    assert hours_of(rated, 4) == pytest.approx(1600 / 3600)
