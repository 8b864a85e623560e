"""The baselines are systems under test, asked as far as they understand; challenges can be read."""

import json

import numpy as np
import pytest

from benchmarks.challenges import evaluate as challenges
from sam_moe.evaluation.asking.protocols import scripts_for
from sam_moe.evaluation.asking.runner import supported_scripts
from sam_moe.evaluation.asking.systems import AutomaticUnderTest, SystemUnderTest
from sam_moe.evaluation.challenge.challenge import cases_of, load_challenge
from sam_moe.evaluation.results import Result, read_result, write_result
from sam_moe.prompts import Box, Point
from sam_moe.space.phantom import ball
from tests.evaluation.rows import study
from tests.systems.m4oe.automatics import write_automatic

classical, EXPERTS = challenges.classical, challenges.EXPERTS
SETS = ("headneck-ct", "abdomen-mr", "hippocampus-mr")


@pytest.fixture
def phantom(generator):
    return ball(generator)


@pytest.mark.slow
@pytest.mark.parametrize("system", classical(), ids=lambda system: system.id)
def test_a_tool_answers_what_it_understands(system, phantom):
    if system.id == challenges.WALKER:
        pytest.importorskip("skimage", reason="scikit-image is not installed: pip install -e '.[benchmarks]'")
    assert isinstance(system, SystemUnderTest)
    scan, truth = phantom
    inside = np.argwhere(truth.array.numpy() > 0)
    prompts = {
        "point": Point(tuple(map(int, inside.mean(axis=0).round()))),
        "box": Box(tuple(map(int, inside.min(axis=0))), tuple(map(int, inside.max(axis=0) + 1))),
    }
    system.open(scan)
    (kind,) = system.supports
    mask = system.answer((prompts[kind],)).mask
    assert mask.shape == scan.grid.shape and mask[tuple(map(int, prompts["point"].at))]
    if kind == "box":
        both = np.count_nonzero(mask & (truth.array.numpy() > 0))
        assert 2 * both / (np.count_nonzero(mask) + len(inside)) > 0.5
    json.dumps(system.describe(), allow_nan=False)


def test_what_each_tool_is_asked_in_the_challenges():
    scripts = scripts_for("clicks,cvpr2025")
    steps = {
        system.id: [step for script in supported_scripts(system, scripts) for step in script.steps]
        for system in classical()
    }
    assert steps["random walker"] == ["click1", "click2", "click3", "click4", "click5"]
    assert steps["ellipsoid"] == ["box"]


def test_record_and_report_are_made_again_from_rows_and_keep_their_pictures(tmp_path):
    rows = study({"small": 0.0, "larger": 0.1})
    record = Result(summary={"all": {}}, versions={"python": "3"}, command="as it ran")
    write_result(tmp_path, rows, record)
    kept = '<section id="worst"><h2>Worst cases</h2><img src="data:kept"></section>'
    (tmp_path / "report.html").write_text(f"<nav></nav>{kept}<section>stale words</section>")
    challenges.again(tmp_path)
    found = read_result(tmp_path)
    assert found.rows == tuple(rows)
    assert (found.result.versions, found.result.command) == (record.versions, record.command)
    cell = found.result.summary["all"]["larger"]["click3"]["dice"]
    assert cell["mean"] == pytest.approx(0.75) and cell["ci95"][0] < 0.75 < cell["ci95"][1]
    page = (tmp_path / "report.html").read_text()
    assert kept in page and "stale words" not in page and "0.750" in page


def test_an_unknown_challenge_is_refused(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["challenges.py", "sarkoma"])
    with pytest.raises(SystemExit):
        challenges.main()
    assert "known: sarcoma, multiorgan, multimodal" in capsys.readouterr().err


@pytest.mark.parametrize("name", EXPERTS)
def test_a_challenge_has_its_test_patients_and_committed_rows_are_of_these(name, data_dir):
    challenge = load_challenge(challenges.HERE / name / "challenge.yaml", data_dir)
    cases = {case.id: case.patient for case in cases_of(challenge)}
    assert (len(cases), len(set(cases.values()))) == {"sarcoma": (12, 6), "multiorgan": (42, 36)}[name]
    assert name in challenges.PEER_PATIENTS
    folder = challenges.HERE / name / "result"
    kept = read_result(folder)
    assert {(row.case, row.patient) for row in kept.rows} == set(cases.items())
    systems = {row.system for row in kept.rows}
    assert {"small", "small-moe", *EXPERTS[name], *(tool.id for tool in classical())} <= systems


def test_the_automatic_challenge_has_the_test_patients_of_three_sets(data_dir):
    challenge = load_challenge(challenges.HERE / "multimodal" / "challenge.yaml", data_dir)
    cases = cases_of(challenge)
    counts = {name: sum(case.strata["set"] == name for case in cases) for name in SETS}
    assert counts == {"headneck-ct": 12, "abdomen-mr": 4, "hippocampus-mr": 47}
    assert len(challenge.labels) == 13 and scripts_for(challenge.protocol)[0].kinds == frozenset()
    of_neck = next(case for case in cases if case.strata["set"] == "headneck-ct")
    assert set(of_neck.labels) <= set(challenge.labels) and "liver" not in of_neck.labels


def test_automatic_models_are_asked_as_they_are_and_given_the_data_set(tmp_path, phantom):
    """Left to itself a model takes the phantom for one set; given it, for the set of the names."""
    own = write_automatic(tmp_path / "own").folder
    other = write_automatic(tmp_path / "other", id="other").folder
    systems = challenges.automatic([str(own)], [str(other)])
    assert [system.id for system in systems] == ["auto", "other"]
    for system in systems:
        assert isinstance(system, AutomaticUnderTest)
        system.open(phantom[0])
    taken = set(systems[0].segment(["hippocampus"]))
    assert taken == set(systems[0].segment(["cord"]))
    assert set(systems[1].segment(["hippocampus"])) == {"hippocampus"}
    assert set(systems[1].segment(["cord", "larynx"])) == {"cord", "larynx"}
    assert systems[1].describe()["data set"] == "given"
