"""The record of an evaluation says what was asked, by which definitions, and what came of it."""

import pytest

from sam_moe.evaluation.challenge.challenge import Challenge
from sam_moe.evaluation.finishing import PACKAGES, Circumstances, result_of
from tests.evaluation.rows import row, study


@pytest.fixture
def challenge():
    return Challenge.model_validate(
        {
            "name": "mine",
            "title": "Mine",
            "sets": [{"layout": "folders", "root": "."}],
            "labels": {"liver": [1], "kidney": [2]},
            "nsd_tolerance_mm": 3.0,
        }
    )


def recorded(challenge, rows):
    how = Circumstances(
        protocol={"clicks": "a click, then four"},
        systems={"small": {"title": "Small"}},
        command=("sam-moe", "evaluate"),
        notes=["a note"],
        seconds=12.34,
        hardware={"processor": "any"},
    )
    return result_of(challenge, rows, how)


def test_what_was_asked_stands_in_the_record(challenge):
    result = recorded(challenge, [row(0.5)])
    assert result.challenge["name"] == "mine" and result.protocol == {"clicks": "a click, then four"}
    assert (result.seconds, result.notes, result.hardware) == (12.3, ("a note",), {"processor": "any"})
    assert {"python", "sam_moe", *PACKAGES} == set(result.versions)


def test_definitions_hold_the_challenges_own_tolerance(challenge):
    assert "3 mm" in str(recorded(challenge, [row(0.5)]).definitions["nsd"])


def test_figures_are_those_of_the_rows(challenge):
    rows = study({"small": 0.1})
    found = recorded(challenge, rows).summary["all"]["small"]["click1"]["dice"]
    first = [one.dice for one in rows if one.prompt == "click1"]
    assert found["mean"] == pytest.approx(sum(first) / len(first))
    assert found["n"] == len(first) == 12
