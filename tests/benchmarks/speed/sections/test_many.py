"""The commands that work through many cases, on files that they can read."""

import sys

import pytest
import torch
import yaml

from benchmarks.speed.sections import many
from benchmarks.speed.sections.scans import ORGANS
from sam_moe.evaluation.challenge.challenge import cases_of, load_challenge
from sam_moe.prompts import promptset
from sam_moe.space.files import read


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("many")
    many.write_cases(place, 2)
    return place


def test_labels_are_balls_at_the_organs_of_their_scan(folder):
    label = read(folder / "labels" / "case_01.nii.gz")
    for value, organ in enumerate(many._ASKED, start=1):
        index = tuple(round(float(x)) for x in label.grid.index_of(ORGANS[organ]))
        assert int(label.array[index]) == value
        volume_ml = float((label.array == value).sum()) * 27 / 1000
        assert volume_ml == pytest.approx(14.1, rel=0.1)  # a ball of 15 mm


def test_each_case_has_its_own_noise(folder):
    one, other = (read(folder / "images" / f"case_0{n}.nii.gz").array for n in (0, 1))
    assert one.shape == (128, 128, 96) and not torch.equal(one, other)


def test_the_prompts_are_clicks_on_the_organs_of_so_many_cases(folder):
    words = many.predicting(folder, 2, folder / "out", 1)
    assert words[:2] == ["sam_moe", "predict"] and "torch.distributed.run" not in words
    found = promptset.read(folder / "prompts-2.json")
    assert [case.image for case in found.cases] == ["case_00.nii.gz", "case_01.nii.gz"]
    assert all(len(case.targets) == len(many._ASKED) for case in found.cases)


def test_two_processes_are_launched_and_one_is_not(folder):
    words = many.predicting(folder, 1, folder / "out", 2)
    assert words[0] == "torch.distributed.run" and "--nproc_per_node=2" in words
    assert words.index("-m") < words.index("sam_moe")


def test_the_challenge_has_so_many_cases_and_both_labels(folder):
    words = many.evaluating(folder, 2, folder / "out", 1)
    path = next(word for word in words if word.endswith(".yaml"))
    assert yaml.safe_load((folder / "challenge-2.yaml").read_text("utf-8"))["protocol"] == "clicks"
    challenge = load_challenge(path, folder)
    assert [case.id for case in cases_of(challenge)] == ["case_00", "case_01"]
    assert set(challenge.labels) == set(many._ASKED)


def test_a_command_that_fails_ends_the_run_with_its_words():
    with pytest.raises(SystemExit, match=r"python -m sam_moe predict nowhere failed:\n.*--out"):
        many.watched(["sam_moe", "predict", "nowhere"])


def test_a_command_that_works_takes_as_long_as_it_takes():
    assert 0 < many.watched(["platform"]) < 60 and sys.executable
