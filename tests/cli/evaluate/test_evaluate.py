"""`sam-moe evaluate` and `simulate`: from a YAML to a result, and help where there is none."""

import json

import pytest
import torch
import yaml

from sam_moe.evaluation.results import read_result
from sam_moe.space.files import write_mask, write_volume
from sam_moe.space.phantom import ball
from tests.evaluation.fake_sppin import make_fake_sppin


@pytest.fixture
def challenge(tmp_path, cards):
    """Two phantoms; systems are the random model of the cards."""
    folder = tmp_path / "set"
    for number, inside in enumerate(("images", "labels")):
        (folder / inside).mkdir(parents=True)
        for case in ("a", "b"):
            made = ball(torch.Generator().manual_seed(ord(case)))[number]
            path = folder / inside / f"{case}.nii.gz"
            write_mask(path, made.array, made.grid) if number else write_volume(path, made)
    text = yaml.safe_dump(
        {"name": "two", "sets": [{"layout": "folders", "root": "."}], "labels": {"ball": [1]}}
    )
    (folder / "challenge.yaml").write_text(text)
    return folder / "challenge.yaml"


def test_a_challenge_becomes_a_table_and_a_folder(sam_moe, challenge, tmp_path):
    done = sam_moe(
        "evaluate", challenge, "--system", "small", "--protocol", "click,box", "--out", tmp_path / "o"
    )
    assert done.code == 0, done.err
    assert done.out.startswith("2 targets of 2 cases, 2 patients")
    assert "small  click1" in done.out and "small  box" in done.out
    assert f"report: {tmp_path}/o/report.html" in done.err
    kept = read_result(tmp_path / "o")
    assert [row.prompt for row in kept.rows] == ["click1", "box"] * 2
    assert kept.result.command[:2] == ["sam-moe", "evaluate"]


def test_a_folder_with_a_challenge_will_do_and_json_is_one_object(sam_moe, challenge, tmp_path):
    words = ("--system", "small", "--protocol", "click", "--out", tmp_path / "o", "--json")
    done = sam_moe("evaluate", challenge.parent, *words)
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["summary"]["small"]["click1"]["dice"]["n"] == 2
    assert found["files"]["result"] == str(tmp_path / "o" / "result.json")


def test_simulated_prompts_are_replayed_to_the_same_rows(sam_moe, challenge, tmp_path):
    asked = sam_moe(
        "evaluate", challenge, "--system", "small", "--protocol", "clicks", "--out", tmp_path / "a"
    )
    written = sam_moe("simulate", challenge, "--protocol", "clicks", "--out", tmp_path / "p.json")
    assert (asked.code, written.code, written.out) == (0, 0, f"2 targets of 2 cases: {tmp_path}/p.json\n")
    words = ("--system", "small", "--prompts", tmp_path / "p.json", "--out", tmp_path / "b")
    again = sam_moe("evaluate", challenge, *words)
    assert again.code == 0, again.err
    one, other = (
        [row.model_copy(update={"seconds": None}) for row in read_result(tmp_path / name).rows]
        for name in "ab"
    )
    assert one == other


def test_masks_made_elsewhere_need_no_system(sam_moe, challenge, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "a.nii.gz").write_bytes((challenge.parent / "labels" / "a.nii.gz").read_bytes())
    done = sam_moe("evaluate", challenge, "--predictions", theirs, "--out", tmp_path / "o")
    assert done.code == 0, done.err
    assert {(row.case, row.status, row.dice) for row in read_result(tmp_path / "o").rows} == {
        ("a", "ok", 1.0),
        ("b", "missing", 0.0),
    }
    assert "missing: 1 answer\n" in done.out


def test_a_folder_without_a_challenge_is_written_how_one_looks(sam_moe, tmp_path):
    done = sam_moe("evaluate", tmp_path, "--out", tmp_path / "o")
    assert done.code == 1
    assert done.err.startswith(f"sam-moe: {tmp_path}: has no challenge.yaml")
    assert "labels: {liver: [1]}" in done.err and "sam-moe evaluate --example >" in done.err
    assert not (tmp_path / "o").exists()


def test_the_example_is_printed_and_read(sam_moe, tmp_path):
    shown = sam_moe("evaluate", "--example")
    assert shown.code == 0 and shown.err == ""
    (tmp_path / "challenge.yaml").write_text(shown.out)
    done = sam_moe("evaluate", tmp_path, "--data", tmp_path, "--out", tmp_path / "o")
    assert done.code == 1 and "images: no such folder" in done.err  # read, and its cases looked for


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "expected a challenge and --out DIR"),
        (("c.yaml",), "expected a challenge and --out DIR"),
        (("c.yaml", "--out", "o", "--prompts", "p", "--protocol", "click"), "both --prompts and --protocol"),
    ],
)
def test_what_is_missing_or_too_much_is_asked_for(sam_moe, words, complaint):
    done = sam_moe("evaluate", *words)
    assert done.code == 2 and complaint in done.err


def test_an_unknown_protocol_names_the_known_ones(sam_moe, challenge, tmp_path):
    done = sam_moe("evaluate", challenge, "--protocol", "cvpr", "--out", tmp_path / "o")
    assert done.code == 1 and "Known: cvpr2025" in done.err


@pytest.mark.slow
def test_what_one_container_hands_in_the_other_judges(sam_moe, cards, tmp_path, monkeypatch):
    monkeypatch.delenv("SAM_MOE_DATA", raising=False)
    challenge = make_fake_sppin(tmp_path / "sppin", patients=1)
    words = ("--grand-challenge", "--protocol", "box", "--out", tmp_path / "o")
    done = sam_moe("evaluate", challenge, "--system", "small", *words)
    assert done.code == 0, done.err
    assert done.out.startswith("2 targets of 2 cases, 1 patients")
    inside, again = tmp_path / "o" / "grand-challenge", tmp_path / "again"
    words = ("--grand-challenge", "--predictions", inside / "input", "--out", again)
    judged = sam_moe("evaluate", inside / "ground-truth", *words)
    assert judged.code == 0, judged.err
    assert judged.out.startswith("2 cases, ")
    one, other = (json.loads((place / "metrics.json").read_text()) for place in (inside / "output", again))
    assert one == other and one["recommended"]["n"] == 2
    several = sam_moe("evaluate", challenge, "--grand-challenge", "--out", tmp_path / "p")
    assert several.code == 2 and "one system's masks" in several.err
