"""What the doctor finds on this machine, and what makes it worry."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sam_moe.cli.start.examination import examine
from sam_moe.registry.finding import DEFAULT_MODEL, find_backbone, user_folder
from sam_moe.registry.removal import remove_card
from tests.systems.m4oe.automatics import write_automatic
from tests.systems.sam_med3d_moe.mixtures import write_expert, write_gate


def test_a_machine_with_a_whole_model_is_ready(sam_moe, cards):
    ran = sam_moe("doctor")
    assert ran.code == 0
    assert ran.out.endswith("\nready\n")
    assert f"  {DEFAULT_MODEL} " in ran.out
    assert "shipped, SHA-256 as on the card" in ran.out


def test_it_shows_versions_devices_threads_and_folders_for_machines(sam_moe, cards, tmp_path):
    found = json.loads(sam_moe("doctor", "--json").out)
    assert found["versions"]["torch"] == torch.__version__
    assert found["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["versions"]["segment_anything"] == "imports"
    assert found["would be used"]["threads"] == str(torch.get_num_threads())
    assert found["would be used"]["device"] == ("cuda" if torch.cuda.is_available() else "cpu")
    assert found["machine"]["instructions"] == torch.backends.cpu.get_cpu_capability()
    assert found["folders"]["cards"] == str(cards)
    assert found["folders"]["your models"] == f"{tmp_path}/cache/checkpoints (not made yet)"
    assert found["usable"] is True


def test_damaged_weights_are_named_and_make_it_unusable(sam_moe, cards):
    (cards / DEFAULT_MODEL / "model.safetensors").write_bytes(b"damaged")
    ran = sam_moe("doctor")
    assert ran.code == 1
    assert f"warning: the weights of {DEFAULT_MODEL} are not those the card names" in ran.out
    assert ran.out.endswith("\nnot usable as it is\n")


def test_missing_weights_are_named(cards):
    (cards / DEFAULT_MODEL / "model.safetensors").unlink()
    found = examine()
    assert not found.usable
    assert any(f"the weights of {DEFAULT_MODEL} are missing" in warning for warning in found.warnings)


def test_a_bad_card_is_a_warning_not_a_crash(cards):
    (cards / DEFAULT_MODEL / "card.json").write_text("{}")
    found = examine()
    assert not found.usable
    assert any("card.json: " in warning for warning in found.warnings)


def test_experts_and_gates_are_listed_and_what_is_wrong_with_them_named(sam_moe, cards):
    base = find_backbone(DEFAULT_MODEL)
    user_folder().mkdir(parents=True)
    expert = write_expert(user_folder(), "cord", base)
    write_gate(user_folder(), "moe", base, [expert])
    found = json.loads(sam_moe("doctor", "--json").out)
    assert found["experts"] == {"cord": f"decoder on {DEFAULT_MODEL}, SHA-256 as on the card"}
    assert found["gates"] == {"moe": f"1 expert on {DEFAULT_MODEL}, SHA-256 as on the card"}
    assert list(found["models"]) == [DEFAULT_MODEL] and found["warnings"] == []
    expert.weights_path.write_bytes(b"damaged")
    found = examine()
    assert found.facts["experts"]["cord"].endswith("not usable, see below") and found.usable
    assert any("expert.safetensors: has 7 bytes" in warning for warning in found.warnings)
    remove_card("cord")
    found = examine()
    assert found.facts["gates"]["moe"].endswith("not usable, see below")
    assert any("experts: cord: no expert with id 'cord'" in warning for warning in found.warnings)


def test_automatic_models_are_listed_and_what_is_wrong_with_them_named(sam_moe, cards):
    entry = write_automatic(cards)
    found = json.loads(sam_moe("doctor", "--json").out)
    assert found["automatic models"] == {"auto": "2 data sets, SHA-256 as on the card"}
    assert list(found["models"]) == [DEFAULT_MODEL] and found["warnings"] == []
    entry.weights_path.unlink()
    found = examine()
    assert found.facts["automatic models"] == {"auto": "2 data sets, not usable, see below"}
    assert any("model.safetensors: no such file" in warning for warning in found.warnings) and found.usable


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "state"),
    [
        ("__version__ = '9.9'", "whole, 9.9"),
        ("raise RuntimeError('operator torchvision::nms does not exist')", "broken (RuntimeError: operator"),
    ],
)
def test_it_shows_a_whole_torchvision_from_a_broken_one(cards, tmp_path, source, state):
    (tmp_path / "site" / "torchvision").mkdir(parents=True)
    (tmp_path / "site" / "torchvision" / "__init__.py").write_text(source)
    root = Path(__file__).resolve().parents[3]
    program = "from sam_moe.cli.start.examination import _torchvision; print(_torchvision())"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": f"{tmp_path / 'site'}{os.pathsep}{root}"},
    )
    assert done.stdout.startswith(state)
