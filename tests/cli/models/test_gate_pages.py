"""A mixture is listed and shown beside the models, with the licence of all its parts."""

import json

import pytest

from sam_moe.registry.finding import DEFAULT_MODEL
from sam_moe.registry.removal import remove_card
from tests.systems.sam_med3d_moe.mixtures import write_mixture


@pytest.fixture
def gate(cards):
    curve = [{"threshold": 0.5, "general_drop": 0.004, "specialised_gain": 0.17}]
    return write_mixture(cards, DEFAULT_MODEL, ("decoder",), curve=curve)


def test_a_mixture_is_in_the_list_under_the_licence_of_its_parts(sam_moe, cards, gate):
    rows = sam_moe("checkpoints", "list").out.splitlines()[1:]
    assert [row.split()[0] for row in rows] == [DEFAULT_MODEL, "gate"]
    assert "CC-BY-4.0" in rows[1] and "A gate" in rows[1]
    found = json.loads(sam_moe("checkpoints", "list", "--json").out)
    assert [(item["kind"], item["licence"]) for item in found] == [
        ("backbone", "Apache-2.0"),
        ("gate", "CC-BY-4.0"),
    ]


def test_its_page_names_its_experts_and_how_it_chooses(sam_moe, cards, gate):
    lines = sam_moe("checkpoints", "show", "gate").out.splitlines()
    assert lines[0] == "gate: A gate"
    assert "experts        first" in lines
    assert f"chooses by     threshold 0.5: the surest expert, {DEFAULT_MODEL} below that confidence" in lines
    assert "licence        Apache-2.0" in lines
    assert "as a mixture   CC-BY-4.0" in lines
    curve = "threshold 0.5  general loses at most 0.0040 Dice, experts' classes gain 0.170 on average"
    assert curve in lines


def test_a_part_that_is_missing_is_answered_where_the_licence_stands(sam_moe, cards, gate):
    remove_card("first", cards)
    ran = sam_moe("checkpoints", "show", "gate")
    assert "as a mixture   Apache-2.0, and that of parts that are not here" in ran.out
    ran = sam_moe("checkpoints", "list")
    assert (ran.code, ran.err) == (0, "")


def test_an_expert_is_shown_elsewhere(sam_moe, cards, gate):
    ran = sam_moe("checkpoints", "show", "first")
    assert (ran.code, "See: sam-moe experts show first" in ran.err) == (1, True)


def test_a_gate_alone_makes_no_machine_ready(sam_moe, cards, gate):
    assert sam_moe("doctor").out.endswith("\nready\n")
    (cards / DEFAULT_MODEL / "model.safetensors").unlink()
    ran = sam_moe("doctor")
    assert ran.code == 1 and "no model's weights are here" in ran.out


def test_predict_explains_who_answered(sam_moe, cards, gate, scan, tmp_path):
    click = ("--point", 24, 24, 24, "--model", "gate", "--out", tmp_path / "mask.nii.gz")
    ran = sam_moe("predict", scan, *click, "--explain")
    first, why, *confidences = ran.out.splitlines()
    assert " · gate · " in first
    who, _, reason = why.partition(" answered: ")
    assert who in (DEFAULT_MODEL, "first") and ("threshold" in reason or "fell back" in reason)
    assert len(confidences) == 2 and all("confidence 0." in line for line in confidences)
    (target,) = json.loads((tmp_path / "mask.run.json").read_text())["targets"]
    assert list(target["answered"]["experts"]) == [who]
    assert target["answered"]["regions"] == {who: 1}
    found = json.loads(sam_moe("predict", scan, *click, "--json", "--explain").out)
    assert found["targets"][0]["answered"] == target["answered"]


def test_predict_explains_that_a_model_alone_chooses_no_expert(sam_moe, cards, scan, tmp_path):
    ran = sam_moe("predict", scan, "--point", 24, 24, 24, "--out", tmp_path / "mask.nii.gz", "--explain")
    assert ran.out.splitlines()[1] == f"{DEFAULT_MODEL} answered: a model alone, without experts"
