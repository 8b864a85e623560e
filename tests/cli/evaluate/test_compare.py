"""The verb that compares: what it prints, what it writes, and what it refuses."""

import json

import pytest

from sam_moe.evaluation.results import Result, write_result
from tests.evaluation.rows import study


@pytest.fixture
def results(tmp_path):
    write_result(tmp_path / "ours", study({"small": 0.0, "moe": 0.1}, clicks=2), Result())
    write_result(tmp_path / "theirs", study({"peer": 0.2}, clicks=2), Result())
    return tmp_path


@pytest.mark.slow
def test_systems_of_all_results_are_ranked(sam_moe, results):
    ran = sam_moe("compare", results / "ours", results / "theirs", "--metric", "dice", "--prompt", "click2")
    assert ran.code == 0
    head, *lines, tau = ran.out.splitlines()
    assert head.startswith("After click2") and head.endswith("dice  missed")
    assert [line.split()[:2] for line in lines] == [["peer", "1"], ["moe", "2"], ["small", "3"]]
    assert tau.startswith("Kendall's tau")


@pytest.mark.slow
def test_page_and_record_go_where_they_are_wanted(sam_moe, results):
    ran = sam_moe("compare", results / "ours", "--out", results / "ranking")
    assert ran.code == 0
    assert ran.remarks == f"page: {results}/ranking/comparison.html\n"
    record = json.loads((results / "ranking" / "comparison.json").read_text("utf-8"))
    assert record["command"][:2] == ["sam-moe", "compare"]
    assert (results / "ranking" / "comparison.html").read_text("utf-8").startswith("<!DOCTYPE html>")


@pytest.mark.slow
def test_machines_get_json(sam_moe, results):
    ran = sam_moe(
        "compare",
        results / "ours",
        "--json",
        "--metric",
        "nsd",
        "--metric",
        "nsd",
        "--system",
        "moe",
        "--system",
        "small",
    )
    record = json.loads(ran.out)
    assert record["metrics"] == ["nsd"]
    assert list(record["sources"]) == ["moe", "small"]
    assert list(record["prompts"]) == ["click1", "click2"]
    assert ran.err == ""


def test_what_cannot_be_compared_is_one_line(sam_moe, results):
    alone = sam_moe("compare", results / "theirs")
    assert alone.code == 1
    assert alone.remarks.startswith("sam-moe: only peer to compare.")
    nothing = sam_moe("compare", results)
    assert nothing.code == 1
    assert nothing.remarks.startswith(f"sam-moe: {results}: no result folder")
    assert sam_moe("compare").code == 2
