"""The files that a run of the speed table leaves: table, JSON, picture."""

import json

import pytest

from benchmarks.speed import everything
from benchmarks.speed.rows import Clock, Rates, Row
from benchmarks.speed.sections.growth import Growth

ROWS = [Row("stages", "reading", 0.5, 0.4, 0.6, 3, ratio=2.0, bar=3)]
GROWN = [Growth("clicks", (1.0, 2.0, 4.0), {"whole case": (0.5, 1.0, 2.0)})]


def test_lines_of_growth_have_the_exponent_and_the_times():
    head, over, curve = everything.grown_lines(GROWN)
    assert head.startswith("growth") and over == "  clicks: 1, 2, 4"
    assert curve.split() == ["whole", "case", "1.00", "500", "ms,", "1", "s,", "2", "s"]
    assert everything.grown_lines([]) == []


@pytest.mark.slow
def test_a_run_leaves_table_json_and_picture(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["everything.py", "--only", "stages", "--out", str(tmp_path)])
    rates = Rates([100.0], [1000.0])
    everything.write(tmp_path, ROWS, GROWN, rates, 12.0, 3)
    text = (tmp_path / "speed.txt").read_text("utf-8")
    assert text.startswith("command: python -m benchmarks.speed.everything --only stages ")
    assert "MISSED 3x" in text and "floors: 100.0 GFLOP/s" in text
    record = json.loads((tmp_path / "speed.json").read_text("utf-8"))
    assert record["rows"][0]["ratio"] == 2.0 and record["growth"][0]["over"] == "clicks"
    assert record["cores"] >= 1 and record["clock"] == everything.CLOCKS[0]
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")
    assert "written to" in capsys.readouterr().out


def test_nothing_measured_is_null_and_no_picture(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["everything.py"])
    monkeypatch.setattr(Clock, "now", everything.process_time)
    everything.write(tmp_path, [], [], Rates(), 1.0, 3)
    record = json.loads((tmp_path / "speed.json").read_text("utf-8"))
    assert record["matmul_gflop_s"] is None and record["rows"] == []
    assert record["clock"] == everything.CLOCKS[1]
    assert not (tmp_path / "speed.png").exists()


def test_a_section_is_shown_as_soon_as_it_is_measured(capsys):
    assert everything.shown(ROWS) is ROWS
    assert "reading" in capsys.readouterr().out
