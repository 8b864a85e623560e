"""The record names the devices that were used, whatever else the machine has."""

import pytest
import torch

from sam_moe.evaluation.asking.hardware import UNKNOWN, device_of, hardware
from sam_moe.evaluation.asking.systems import ask_models
from tests.evaluation.answerers import Growing, growing, phantoms, run


class OnCpu(Growing):
    device = torch.device("cpu")


def test_devices_are_those_of_the_systems_each_once():
    found = hardware(2, ["cpu", "A GPU", "cpu"])
    assert (found["device"], found["processes"]) == ("A GPU, cpu", 2)
    assert hardware(1, [])["device"] == "cpu"
    assert device_of(OnCpu()) == "cpu" and device_of(Growing()) == UNKNOWN


def test_a_gpu_that_is_there_and_was_not_used_is_not_named(tmp_path, monkeypatch):
    """The machine says that it has CUDA; the system computes on the CPU. Each case keeps where it was."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    challenge = phantoms(tmp_path / "set", 1)
    done = run(challenge, tmp_path / "out", lambda: (OnCpu(),), protocol="click")
    assert done.result.hardware["device"] == "cpu"
    done = run(challenge, tmp_path / "other", growing, protocol="click")
    assert done.result.hardware["device"] == UNKNOWN


def test_a_model_of_ours_says_where_it_is():
    (system,) = ask_models(["small"], "cpu")
    assert system.device == torch.device("cpu") and device_of(system) == "cpu"


@pytest.mark.gpu
def test_a_gpu_that_was_used_is_named():
    (system,) = ask_models(["small"], "cuda")
    assert device_of(system) == torch.cuda.get_device_name()
