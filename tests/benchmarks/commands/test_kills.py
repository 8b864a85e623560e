"""The harness sees what it is there for; a short run of it finds nothing."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.commands import kill_cases as cases
from benchmarks.commands import kill_stock as stock
from benchmarks.commands import kills
from sam_moe.files import sha256_of
from sam_moe.registry import MadeBy, Preprocessing
from sam_moe.systems.sam_med3d_moe.pretrain.learner import fresh_model
from sam_moe.training.engine.best import Kept
from sam_moe.training.recipes.card import Provenance, ship
from sam_moe.training.recipes.settings import CardRecipe
from sam_moe.weights.files import save_weights

_record, broken, leftovers, misnamed = cases._record, cases.broken, cases.leftovers, cases.misnamed
Tally, ended, line, on_change = kills.Tally, kills.ended, kills.line, kills.on_change

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def model(tmp_path):
    """A model in its folder."""

    folder = tmp_path / "model"
    folder.mkdir()
    kept = Kept(fresh_model(stock.SIZES, 0).state_dict(), 0, {})
    sizes = replace(stock.SIZES, global_attn_indexes=(1,))
    words, region = CardRecipe(id="model", **stock.WORDS), Preprocessing(**stock.REGION)
    ship(kept, folder, words, sizes, region, Provenance(MadeBy(command="x"), "nothing"))
    return folder


def test_a_card_of_other_weights_is_seen(model, tmp_path):
    assert broken(tmp_path) == []
    save_weights({"a": torch.zeros(3)}, model / "model.safetensors")
    assert len(broken(tmp_path)) == 1 and broken(tmp_path)[0].startswith("model/card.json: ")
    (model / "card.json").write_text("{")
    assert len(broken(tmp_path)) == 1


@pytest.mark.parametrize("name", [".sam-moe-1", "a.part", "checkpoint.old", ".incoming-x", "sub/.sam-moe-1"])
def test_what_is_left_behind_is_seen(tmp_path, name):
    (tmp_path / "whole.txt").write_text("")
    assert leftovers(tmp_path) == []
    (tmp_path / name).mkdir(parents=True)
    assert leftovers(tmp_path) == [name]


def test_a_record_beside_another_mask_is_seen(tmp_path):
    mask, record = tmp_path / "a.nii.gz", tmp_path / "a.run.json"
    mask.write_bytes(b"of A")
    record.write_text(json.dumps({"finished": "now", "mask": "a.nii.gz", "prompts": "A"}))
    wanted = {"A": {"a.nii.gz": sha256_of(mask), "a.run.json": _record(record)}}
    assert misnamed(tmp_path, wanted) == []
    mask.write_bytes(b"of B")
    assert misnamed(tmp_path, wanted) == ["a.run.json: of A, and the mask is another's"]
    mask.unlink()
    assert len(misnamed(tmp_path, wanted)) == 1
    record.write_text(json.dumps({"finished": "now", "mask": "a.nii.gz", "prompts": "C"}))
    assert misnamed(tmp_path, wanted) == ["a.run.json: of no prompts that were given"]
    record.write_text(json.dumps({"begun": "now", "mask": "a.nii.gz", "prompts": "C"}))
    assert misnamed(tmp_path, wanted) == []


def test_file_operations_are_seen_inside_the_folder_alone(tmp_path):
    pid = os.fork()
    if pid == 0:
        on_change(tmp_path / "in", lambda: os.kill(os.getpid(), signal.SIGKILL))
        (tmp_path / "out").write_text("")
        (tmp_path / "out").read_text()
        (tmp_path / "in").mkdir()
        os._exit(0)
    assert ended(pid) == -signal.SIGKILL
    assert (tmp_path / "out").is_file() and not (tmp_path / "in").exists()


def test_a_row_counts_a_fault_once_a_kill():
    tally = Tally(kills=2)
    tally.add("leftovers", ["a", "b"], "here")
    tally.add("leftovers", [], "there")
    assert tally.reports == ["here: leftovers: a; b"]
    assert line("convert", tally).split()[:7] == ["convert", "2", "0", "0", "0", "1", "0"]


@pytest.mark.slow
def test_a_dozen_kills_leave_no_fault():
    """Of every verb; another seed each day would find more, and nothing that could be found again."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.commands.kills", "--kills", "12", "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=900)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.splitlines()[-1].split()[:7] == ["all", "12", "0", "0", "0", "0", "0"]
