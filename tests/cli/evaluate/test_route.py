"""`sam-moe experts route` shows who answers what."""

import json

import pytest

from sam_moe.registry.finding import DEFAULT_MODEL
from tests.systems.sam_med3d_moe.mixtures import write_mixture


@pytest.fixture
def data(cards, scan, label, tmp_path):
    """A data folder of one case, and a gate."""
    write_mixture(cards, DEFAULT_MODEL, ("decoder",))
    case = {"id": "a", "image": scan.name, "label": label.name}
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"ball": 1}, "cases": [case, case]}))
    return tmp_path


def test_it_writes_table_record_and_picture_and_prints_the_shares(sam_moe, data, tmp_path):
    ran = sam_moe("experts", "route", data, "--model", "gate", "--out", tmp_path / "made", "--first", 1)
    assert ran.code == 0, ran.err
    assert ran.out.startswith("ball     2  ")
    assert len((tmp_path / "made" / "routing.csv").read_text().splitlines()) == 3
    assert (tmp_path / "made" / "routing.png").read_bytes().startswith(b"\x89PNG")
    found = sam_moe("experts", "route", data, "--model", "gate", "--out", tmp_path / "made", "--json")
    shares = json.loads(found.out)["shares"]
    assert sum(shares["ball"].values()) == pytest.approx(1)


def test_a_model_that_is_no_gate_is_refused_before_the_work(sam_moe, data, tmp_path):
    ran = sam_moe("experts", "route", data, "--model", DEFAULT_MODEL, "--out", tmp_path / "made")
    assert (ran.code, f"{DEFAULT_MODEL} is a general model. Expected a gate" in ran.err) == (1, True)
    assert not (tmp_path / "made").exists()


def test_cases_that_are_not_there_are_named(sam_moe, data, tmp_path):
    ran = sam_moe("experts", "route", tmp_path / "none", "--model", "gate", "--out", tmp_path / "made")
    assert ran.code == 1 and "none" in ran.err
