"""A machine with torch, accelerate and safetensors alone trains what `sam-moe pretrain` prepared."""

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from sam_moe.errors import ConfigError
from sam_moe.registry import read_card
from sam_moe.systems.sam_med3d_moe.pretrain.prepared import PLAN, train_prepared
from sam_moe.systems.sam_med3d_moe.pretrain.recipe import pretrain
from sam_moe.training.engine.machines import MACHINES, hardware

ROOT = Path(__file__).resolve().parents[4]

# What the training core imports beside those three.
NEEDED: list[str] = []

PROGRAM = """
import runpy
import sys

KNOWN = {"sam_moe", *sys.stdlib_module_names, *sys.argv.pop(1).split(",")}

class Bare:
    "Finds what another finder finds, if a bare machine has it."

    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        known = name.partition(".")[0] in KNOWN or name.startswith("_sysconfigdata")
        return self.finder.find_spec(name, path, target) if known else None

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = [Bare(finder) for finder in sys.meta_path]
import torch

torch.set_num_threads(1)
runpy.run_module("sam_moe.training.bare", run_name="__main__", alter_sys=True)
print(sorted({"pydantic", "nibabel", "scipy", "monai", "typer", "jaxtyping"} & set(sys.modules)))
"""


def installed_with(*names):
    """The importable names of some packages and of all that they require."""
    found, ahead = set(), list(names)
    homes = packages_distributions()
    plain = lambda name: name.lower().replace("_", "-")  # noqa: E731
    here = {plain(home) for owners in homes.values() for home in owners}
    while ahead:
        if (name := plain(ahead.pop())) in found or name not in here:
            continue
        found.add(name)
        wanted = [Requirement(line) for line in requires(name) or []]
        ahead += [r.name for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})]
    return {top for top, owners in homes.items() if {plain(owner) for owner in owners} & found}


def on_a_bare_machine(*arguments):
    known = installed_with("torch", "accelerate", "safetensors") | set(NEEDED)
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, ",".join(sorted(known)), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.slow
def test_what_a_bare_machine_learns_is_what_is_learnt_at_home(recipe, folder, splits, tmp_path):
    few = ["schedule.steps=2", "validation_crops=2", "precision=float32"]
    home = pretrain(recipe(run=str(tmp_path / "home")), few)
    run = pretrain(recipe(), few, prepare=True)
    assert {p.name for p in run.iterdir()} == {
        "recipe.yaml", PLAN, "train.safetensors", "validation.safetensors",
        "train.files.json", "validation.files.json",
    }  # fmt: skip
    away = tmp_path / "away"
    shutil.move(run, away)
    (away / MACHINES).write_text('["1 x abacus"]')  # where it had begun
    done = on_a_bare_machine(away)
    assert done.returncode == 0 and done.stdout == f"{NEEDED[:1]}\n", done.stderr[-3000:]
    shutil.move(away, run)
    shutil.rmtree(folder)
    splits.unlink()
    assert pretrain(recipe(), few).read_bytes() == home.read_bytes()
    assert read_card(run / "card.json").made_by.hardware == f"1 x abacus; {hardware(1)}"


@pytest.mark.slow
def test_a_bare_machine_names_what_is_missing(tmp_path):
    done = on_a_bare_machine(tmp_path)
    assert done.returncode == 1 and "plan.json: not readable as the plan of a training" in done.stderr
    assert "Traceback" not in done.stderr
    assert "usage: python -m sam_moe.training.bare RUN" in on_a_bare_machine().stderr


def test_a_plan_of_another_version_is_refused(recipe, change):
    run = pretrain(recipe(validation_crops=0), prepare=True)
    whole = json.loads((run / PLAN).read_text())
    change(run / PLAN, lambda plan: plan.update(later=1))
    with pytest.raises(ConfigError, match=r"plan\.json: not readable as .*later.*`sam-moe pretrain RECIPE"):
        train_prepared(run)
    (run / PLAN).write_text(json.dumps({k: v for k, v in whole.items() if k != "seed"}))
    with pytest.raises(ConfigError, match=r"plan\.json: not readable as .*seed"):
        train_prepared(run)


def test_a_folder_without_its_cache_is_refused(recipe):
    run = pretrain(recipe(validation_crops=0), prepare=True)
    (run / "train.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"train\.safetensors: not readable as a cache"):
        train_prepared(run)
