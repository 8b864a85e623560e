"""The door for machines with torch, accelerate and safetensors alone leads to the prepared training."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def through_the_door(*words):
    command = [sys.executable, "-m", "sam_moe.training.bare", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def test_without_a_folder_the_door_shows_how_it_is_used():
    assert through_the_door().stderr == "usage: python -m sam_moe.training.bare RUN\n"


def test_a_folder_without_a_plan_is_answered_in_one_line(tmp_path):
    done = through_the_door(tmp_path)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(
        f"sam-moe: {tmp_path / 'plan.json'}: not readable as the plan of a training"
    )


def test_importing_the_door_starts_nothing():
    done = subprocess.run(
        [sys.executable, "-c", "import sam_moe.training.bare"], capture_output=True, text=True, cwd=ROOT
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
