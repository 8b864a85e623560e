"""A gate's parts are found for lists and reports, without torch as long as names are not ambiguous."""

import subprocess
import sys

import pytest

from sam_moe.assemble.parts import find_parts
from sam_moe.registry.finding import find_backbone, find_gate
from sam_moe.systems.sam_med3d_moe.cards.backbone import load_backbone
from sam_moe.systems.sam_med3d_moe.cards.convert import convert
from sam_moe.weights.files import save_weights
from tests.systems.sam_med3d_moe.mixtures import write_expert, write_gate


def test_the_parts_of_a_gate_that_ships_are_found_without_torch():
    program = (
        "import sys; from sam_moe.assemble.parts import find_parts;"
        "from sam_moe.registry.finding import find_gate;"
        "print(len(find_parts(find_gate('small-moe')).experts), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "4 False\n"


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_of_two_backbones_of_one_name_the_one_that_the_gate_knows_is_found(tmp_path, monkeypatch, factor):
    monkeypatch.setenv("SAM_MOE_CACHE", str(tmp_path / "cache"))
    base = find_backbone("tiny")
    gate = write_gate(tmp_path / "runs", "moe", base, [write_expert(tmp_path / "runs", "cord", base)])
    state = {name: tensor * factor for name, tensor in load_backbone(base).state_dict().items()}
    save_weights(state, tmp_path / "run.safetensors", {"step": "7"})
    convert(tmp_path / "run.safetensors", tmp_path / "runs", "tiny")
    beside = tmp_path / "runs" / "tiny"
    assert find_parts(find_gate(gate.path)).base.folder == (base.folder if factor != 1 else beside)
