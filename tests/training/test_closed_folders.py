"""A training sees before its work whether its folder can be written, and where there is nothing to learn."""

import json
import subprocess

import pytest

from sam_moe.errors import ConfigError, FileError
from sam_moe.systems.sam_med3d_moe.finetune.recipe import finetune
from sam_moe.systems.sam_med3d_moe.pretrain.recipe import pretrain
from sam_moe.systems.sam_med3d_moe.train_gate.recipe import train_gate


@pytest.fixture(params=["pretrain", "finetune", "train-gate"])
def start(request):
    """Starts a training in a folder; stages that it reports end it."""
    make = {"pretrain": "recipe", "finetune": "task", "train-gate": "gate_recipe"}[request.param]
    if request.param == "train-gate":
        request.getfixturevalue("team").expert("old")
    write = request.getfixturevalue(make)
    verb = {"pretrain": pretrain, "finetune": finetune, "train-gate": train_gate}[request.param]

    def work(*stage):
        raise AssertionError(f"the work has begun: {stage}")

    return lambda run: verb(write(run=str(run)), (), work)


@pytest.mark.parametrize("below", [".", "new", "new/er"])
def test_a_read_only_place_is_noticed_before_the_work(start, small_disk, below):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(FileError, match=r"cannot be written \(Read-only file system\)") as caught:
        start(small_disk / below)
    assert "\n" not in str(caught.value)


def test_a_file_in_the_place_of_the_folder_is_noticed_before_the_work(start, tmp_path):
    (tmp_path / "taken").write_text("")
    for run in (tmp_path / "taken", tmp_path / "taken" / "run"):
        with pytest.raises(FileError, match=r"taken: is a file\. Expected a folder"):
            start(run)


def test_a_start_that_finds_no_cases_writes_no_recipe(start, splits, tmp_path):
    splits.write_text(json.dumps({"sets": {"balls": {"train": ["absent"], "validation": []}}}))
    with pytest.raises(ConfigError, match="names the case absent"):
        start(tmp_path / "begun")
    assert not (tmp_path / "begun" / "recipe.yaml").exists()
