"""Trainings end with the weights, losses and figures that were recorded: to the bit on the same processor.

`SAM_MOE_RECORD=1 pytest tests/training/test_trainings.py` records them anew in trainings.json.
"""

import json
import os
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sam_moe.files import replace_text
from sam_moe.registry import read_card
from sam_moe.systems.sam_med3d_moe.finetune.recipe import finetune
from sam_moe.systems.sam_med3d_moe.pretrain.recipe import pretrain
from sam_moe.systems.sam_med3d_moe.train_gate.recipe import train_gate
from sam_moe.training.engine.runlog import read_rows
from tests.house.numbers import here

RECORDED = Path(__file__).with_name("trainings.json")
LORA = {"kind": "lora", "lora": {"rank": 2, "alpha": 4.0}}
GATES = {
    "owner": {"selection": "argmax", "balance": 0.1},
    "best": {"target": "best", "selection": "threshold", "noise": 0.0},
    "fused": {"target": "fused", "selection": "top_k", "k": 2, "fusion": "probabilities"},
}


def digest(path):
    """A checksum over names, shapes and values of all tensors of a file."""
    found = sha256()
    for name, tensor in sorted(load_file(path).items()):
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode() + tensor.numpy().tobytes())
    return found.hexdigest()


def measured(run):
    """What a run left that depends on nothing but its recipe."""
    rows = [{k: v for k, v in r.items() if k not in ("seconds", "samples_per_s")} for r in read_rows(run)]
    card = read_card(run / "card.json")
    figures = {f"{row.metric}; {row.protocol}": row.value for row in card.measured}
    caches = {path.stem: digest(path) for path in sorted(run.glob("t*.safetensors"))}
    return {"weights": digest(run / "model.safetensors"), "rows": rows, "figures": figures, "caches": caches}


@pytest.fixture
def trained(request):
    """Runs a training by its name and returns its folder."""

    def run(name):
        kind, _, how = name.partition(" ")
        if kind == "pretrain":
            more = {"curriculum": 3, "spoil_share": 0.5} if how == "curriculum" else {}
            return pretrain(request.getfixturevalue("recipe")(data=more)).parent
        if kind == "finetune":
            changes = LORA if how == "lora" else {"data": {"phantom_share": 0.2}}
            return finetune(request.getfixturevalue("task")(**changes)).parent
        request.getfixturevalue("team").expert("old")
        recipe = request.getfixturevalue("gate_recipe")(**GATES[how])
        return train_gate(recipe, ["data.leave_out=[balls/ball]"]).parent

    return run


NAMES = ["pretrain plain", "pretrain curriculum", "finetune decoder", "finetune lora"]
NAMES += [f"train-gate {how}" for how in GATES]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_not_one_number_of_a_training_moves(name, trained):
    torch.set_num_threads(1)
    found = json.loads(json.dumps(measured(trained(name))))
    if os.environ.get("SAM_MOE_RECORD"):
        written = json.loads(RECORDED.read_text(encoding="utf-8")) if RECORDED.is_file() else {}
        replace_text(RECORDED, json.dumps({**written, "on": here(), name: found}, indent=1) + "\n")
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
    if recorded["on"] == here():
        assert found == recorded[name]
        return
    for row, was in zip(found["rows"], recorded[name]["rows"], strict=True):
        assert row == pytest.approx(was, abs=0.05)
    assert found["figures"] == pytest.approx(recorded[name]["figures"], abs=0.1)
