"""Recipes are read without torch, and their schedule is the loop's."""

import subprocess
import sys
from pathlib import Path

import pytest

from sam_moe.training.engine.schedule import Schedule
from sam_moe.training.recipes.settings import LabelledScans, ScheduleRecipe

ROOT = Path(__file__).resolve().parents[3]
PAPER = "sam_moe.systems.sam_med3d_moe"


@pytest.mark.parametrize("verb", ["pretrain", "finetune", "train_gate"])
def test_a_recipe_is_read_without_torch(verb):
    program = (
        f"import sys, {PAPER}.{verb}.settings; print([m for m in ('torch', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == "[]\n"


def test_a_recipes_schedule_is_the_loops_with_the_recipes_numbers():
    found = ScheduleRecipe(steps=7, learning_rate=0.5).schedule()
    assert isinstance(found, Schedule)
    assert (found.steps, found.learning_rate, found.batch_size, found.weight_decay) == (7, 0.5, 4, 0.05)


def test_all_regions_are_spoiled_where_a_recipe_names_no_share(tmp_path):
    assert LabelledScans(folder=tmp_path, splits=tmp_path / "s.json").spoil_share == 1
