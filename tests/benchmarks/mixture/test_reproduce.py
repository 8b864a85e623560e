"""The table is made again from kept answers; a scan is one job."""

import json
import shutil
from dataclasses import replace

import pytest

from benchmarks.cases import ROOT
from benchmarks.mixture import reproduce
from benchmarks.quality import blocks

RESULTS = ROOT / "benchmarks" / "results" / "mixture"
LIVER = blocks.Target(blocks.GENERAL, "a", "1", "1", "liver", "liver", (1,), 100)


def test_targets_of_one_scan_are_one_job():
    spleen, other = replace(LIVER, structure="spleen"), replace(LIVER, case="2")
    same_name = replace(LIVER, set="b")
    jobs = list(reproduce._by_scan([LIVER, other, spleen, same_name]))
    assert jobs == [[LIVER, spleen], [other], [same_name]]


@pytest.mark.slow
def test_the_table_is_made_again_from_kept_answers_and_asks_nothing(tmp_path, monkeypatch, capsys):
    shutil.copy(RESULTS / "reproduce.jsonl", tmp_path)
    monkeypatch.setattr("sys.argv", ["reproduce.py", "--again", "--out", str(tmp_path)])
    reproduce.main()
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "small-moe, test part: 179 targets of 51 scans, mean Dice"
    assert printed[-2] == "from kept answers"
    figures = json.loads(printed[-1])
    assert figures["part"] == "test" and figures["wall_seconds"] is None
    assert figures["bit_identical_when_general"] is True
    assert [path.name for path in tmp_path.iterdir()] == ["reproduce.jsonl"]  # nothing else is written
