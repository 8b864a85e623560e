"""Every choice of a gate is written down: as a table, as JSON and as a picture."""

import csv
import json
from pathlib import Path

import pytest

from sam_moe.errors import FileError
from sam_moe.evaluation.routing.record import Route, Routes, withdraw_old, write

IDS = ("general", "cord", "liver")


def test_of_several_experts_each_counts_by_its_weight():
    routes = (
        Route("a", "x", "click", {"cord": 0.75, "liver": 0.25}),
        Route("a", "x", "box", {"general": 1.0}),
        Route("b", "y", "click", {"liver": 1.0}),
        Route("b", "y", "box", error="outside"),
    )
    found = Routes("m", IDS, routes)
    assert found.shares()["x"] == {"general": 0.5, "cord": 0.375, "liver": 0.125}
    assert [(one.structure, one.answers) for one in found.counted().structures] == [("x", 2), ("y", 1)]
    lines = str(found).splitlines()
    assert lines[0] == "x     2  general 50%, cord 38%, liver 12%"
    assert lines[-1] == "no answer: 1; the first, b: outside"


def test_table_and_record_hold_every_route(tmp_path):
    sure = {"general": 0.25, "cord": 0.75}
    routes = (
        Route("a", "x", "click", {"cord": 1.0}, sure, "the surest", 2, 9, 0.5),
        Route("lost", "", "", error="no such file"),
    )
    files = write(Routes("m", IDS[:2], routes), tmp_path)
    assert set(files) == {"csv", "json", "png"} and Path(files["png"]).read_bytes().startswith(b"\x89PNG")
    first, second = csv.DictReader(Path(files["csv"]).read_text(encoding="utf-8").splitlines())
    assert first == {
        "case": "a",
        "structure": "x",
        "prompt": "click",
        "answered": "cord",
        "confidence general": "0.2500",
        "confidence cord": "0.7500",
        "why": "the surest",
        "regions": "2",
        "voxels": "9",
        "dice": "0.5",
        "error": "",
    }
    assert (second["case"], second["answered"], second["error"]) == ("lost", "", "no such file")
    record = json.loads(Path(files["json"]).read_text())
    assert (record["model"], record["experts"]) == ("m", ["general", "cord"])
    assert record["shares"] == {"x": {"general": 0.0, "cord": 1.0}}
    assert [one["error"] for one in record["routes"]] == ["", "no such file"]


def test_no_cell_begins_like_a_formula_and_an_older_run_can_be_withdrawn(tmp_path):
    found = Routes("m", ("general",), (Route("=1+1", "@x", "click", {"general": 1.0}, {"general": 1.0}),))
    files = write(found, tmp_path)
    table = Path(files["csv"]).read_text(encoding="utf-8").splitlines()
    assert table[1].startswith("'=1+1,'@x,click,")
    withdraw_old(tmp_path)
    assert not [*tmp_path.iterdir()]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    found = Routes("m", ("general",), (Route("a", "x", "click", {"general": 1.0}),))
    with pytest.raises(FileError, match=r"routing\.csv: no such folder"):
        write(found, tmp_path / "none")
