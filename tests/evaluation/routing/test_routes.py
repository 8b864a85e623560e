"""Every choice of a mixture is written down, and what could not be asked is a row too."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from sam_moe.errors import ConfigError, FileError
from sam_moe.evaluation.routing.labelled import Case, cases_of
from sam_moe.evaluation.routing.routes import Route, Routes, route, withdraw_old, write
from sam_moe.moe.rules.forced import Forced
from sam_moe.moe.rules.top_k import TopK
from sam_moe.space.files import write_mask, write_volume
from sam_moe.space.phantom import ball
from tests.predict.ruled import choosing


def no_tell(stage, share):
    pass


def narrow(mixture, rule):
    """The same mixture under another rule, which keeps to one region."""
    return replace(choosing(mixture, rule), whole_targets=False)


@pytest.fixture
def folder(tmp_path, generator):
    scan, mask = ball(generator)
    write_volume(tmp_path / "scan.nii.gz", scan)
    write_mask(tmp_path / "label.nii.gz", mask.array, mask.grid)
    case = {"id": "a", "image": "scan.nii.gz", "label": "label.nii.gz"}
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"ball": 1}, "cases": [case]}))
    return tmp_path


def test_each_prompt_is_a_row_with_who_answered_and_how_sure_the_gate_was(mixture, folder):
    mixture = narrow(mixture, Forced(1))
    found = route(mixture, cases_of(folder), no_tell)
    assert found.ids == ("random", "cord", "liver")
    files = write(found, folder)
    assert set(files) == {"csv", "json", "png"}
    rows = list(csv.DictReader(Path(files["csv"]).read_text(encoding="utf-8").splitlines()))
    assert [(row["case"], row["structure"], row["prompt"], row["answered"]) for row in rows] == [
        ("a", "ball", "click", "cord"),
        ("a", "ball", "box", "cord"),
    ]
    sure = [float(rows[0][f"confidence {id}"]) for id in found.ids]
    assert sum(sure) == pytest.approx(1, abs=2e-4)
    assert rows[0]["why"] == "asked for" and 0 <= float(rows[0]["dice"]) <= 1
    told = json.loads((folder / "routing.json").read_text())
    assert told["shares"] == {"ball": {"random": 0.0, "cord": 1.0, "liver": 0.0}}
    assert [one["prompt"] for one in told["routes"]] == ["click", "box"]


def test_of_several_experts_each_counts_by_its_weight():
    routes = (
        Route("a", "x", "click", {"cord": 0.75, "liver": 0.25}),
        Route("a", "x", "box", {"general": 1.0}),
        Route("b", "y", "click", {"liver": 1.0}),
        Route("b", "y", "box", error="outside"),
    )
    found = Routes("m", ("general", "cord", "liver"), routes)
    assert found.shares()["x"] == {"general": 0.5, "cord": 0.375, "liver": 0.125}
    assert (found.count("x"), found.count("y")) == (2, 1)
    lines = str(found).splitlines()
    assert lines[0] == "x     2  general 50%, cord 38%, liver 12%"
    assert lines[-1] == "not asked: 1; the first, b: outside"


def test_no_cell_begins_like_a_formula_and_an_older_run_can_be_withdrawn(tmp_path):
    found = Routes("m", ("general",), (Route("=1+1", "@x", "click", {"general": 1.0}, {"general": 1.0}),))
    files = write(found, tmp_path)
    table = Path(files["csv"]).read_text(encoding="utf-8").splitlines()
    assert table[1].startswith("'=1+1,'@x,click,")
    withdraw_old(tmp_path)
    assert not [*tmp_path.iterdir()]


def test_a_case_that_cannot_be_read_is_a_row_and_the_others_go_on(mixture, folder):
    mixture = narrow(mixture, TopK(2))
    (good,) = cases_of(folder)
    found = route(mixture, [Case("lost", folder / "lost.nii.gz"), good], no_tell)
    assert [bool(one.error) for one in found.routes] == [True, False, False]
    assert "lost.nii.gz" in found.routes[0].error


def test_where_nothing_can_be_asked_the_first_reason_is_told(mixture, folder):
    with pytest.raises(FileError, match=r"lost\.nii\.gz"):
        route(mixture, [Case("lost", folder / "lost.nii.gz")], no_tell)


def test_a_model_alone_has_no_routes(model, folder):
    with pytest.raises(ConfigError, match="random is a model alone and chooses among nobody"):
        route(model, cases_of(folder), no_tell)
