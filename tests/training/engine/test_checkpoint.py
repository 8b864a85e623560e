"""A checkpoint is found when it is whole, and refused in words when it is another model's."""

import json
import os
import shutil
import subprocess

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from sam_moe.errors import ConfigError, FileError
from sam_moe.training.engine.checkpoint import Since, resume, save


@pytest.fixture
def start():
    """Makes an Accelerator with a small model of a given width."""

    def make(width=3, value=0.0):
        accelerator = Accelerator()
        model = nn.Linear(2, width)
        nn.init.constant_(model.weight, value)
        optimiser = torch.optim.AdamW(model.parameters())
        return accelerator, *accelerator.prepare(model, optimiser)

    return make


def test_what_was_saved_is_resumed_at_its_step(start, tmp_path):
    accelerator, model, _ = start(value=0.25)
    save(accelerator, tmp_path, 7)
    nn.init.constant_(model.weight, 9.0)
    assert resume(accelerator, tmp_path, 10) == (7, Since())
    assert model.weight.unique().tolist() == [0.25]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint"]


def test_an_empty_folder_starts_at_the_beginning(start, tmp_path):
    assert resume(start()[0], tmp_path, 10) == (0, Since())


def test_a_newer_checkpoint_takes_the_place_of_the_older(start, tmp_path):
    accelerator, *_ = start()
    for step in (1, 2, 3):
        save(accelerator, tmp_path, step)
    assert resume(accelerator, tmp_path, 10)[0] == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint"]


def test_between_the_two_renames_the_old_one_serves_until_a_new_one_is_whole(start, tmp_path):
    accelerator, *_ = start()
    save(accelerator, tmp_path, 1)
    (tmp_path / "checkpoint").rename(tmp_path / "checkpoint.old")
    (tmp_path / "checkpoint.part").mkdir()
    (tmp_path / "checkpoint.part" / "model.safetensors").write_bytes(b"half")
    assert resume(accelerator, tmp_path, 10)[0] == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint.old"]
    save(accelerator, tmp_path, 2)
    assert resume(accelerator, tmp_path, 10)[0] == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint"]


def test_a_checkpoint_beyond_the_last_step_is_refused(start, tmp_path):
    accelerator, *_ = start()
    save(accelerator, tmp_path, 11)
    with pytest.raises(ConfigError, match=r"stopped at step 11, but the recipe ends at 10.*schedule\.steps"):
        resume(accelerator, tmp_path, 10)


def test_the_checkpoint_of_another_model_is_refused(start, tmp_path):
    save(start(width=3)[0], tmp_path, 1)
    with pytest.raises(ConfigError, match=r"does not fit the model of this recipe.*name another folder"):
        resume(start(width=4)[0], tmp_path, 10)


def test_what_a_kill_left_is_gone_after_the_next_start(start, tmp_path):
    accelerator, *_ = start()
    save(accelerator, tmp_path, 1)
    shutil.copytree(tmp_path / "checkpoint", tmp_path / "checkpoint.old")
    shutil.copytree(tmp_path / "checkpoint", tmp_path / "checkpoint.part")
    assert resume(accelerator, tmp_path, 1)[0] == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint"]


def test_a_checkpoint_of_an_older_version_has_measured_nothing(start, tmp_path):
    accelerator, *_ = start()
    save(accelerator, tmp_path, 1)
    (tmp_path / "checkpoint" / "step.json").write_text('{"step": 1}')
    assert resume(accelerator, tmp_path, 1) == (1, Since())


def test_on_a_full_disk_the_old_one_stays_and_one_line_says_so(start, small_disk):
    accelerator, *_ = start()
    save(accelerator, small_disk, 1)
    for room in (0, 4096, 8192, 16384):
        fill(small_disk / "rest", room)
        with pytest.raises(FileError, match=r"checkpoint: cannot be written .*free space") as caught:
            save(accelerator, small_disk, 2)
        assert "\n" not in str(caught.value)
        assert sorted(p.name for p in small_disk.iterdir()) == ["checkpoint", "rest"]
        assert resume(accelerator, small_disk, 10)[0] == 1
    subprocess.run(["mount", "-o", "remount,size=1m", small_disk], check=True)
    save(accelerator, small_disk, 2)
    assert resume(accelerator, small_disk, 10)[0] == 2


def fill(path, room):
    """Leave so many bytes of a disk."""
    path.unlink(missing_ok=True)
    disk = os.statvfs(path.parent)
    path.write_bytes(bytes(disk.f_bavail * disk.f_frsize - room))


def test_beside_the_state_lie_its_step_and_what_was_measured(start, tmp_path):
    save(start()[0], tmp_path, 5, Since((0.1, 0.25), 1.5, 2.0))
    names = {p.name for p in (tmp_path / "checkpoint").iterdir()}
    assert names == {"model.safetensors", "optimizer.bin", "random_states_0.pkl", "step.json"}
    assert json.loads((tmp_path / "checkpoint" / "step.json").read_text()) == {
        "step": 5,
        "losses": [0.1, 0.25],
        "worked": 1.5,
        "seconds": 2.0,
    }
