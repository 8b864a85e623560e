"""A system's tensors have one name each; a phase lets those learn that it names, and no other."""

import pytest
import torch
from torch import nn

from sam_moe.errors import ConfigError
from sam_moe.moe.rules.dense import Dense
from sam_moe.moe.system import Phase, Site, System, learning, tensors_of
from tests.systems.toys import ByPrompt, ByToken, Shared


class Banked(nn.Module):
    """A system whose experts are no part of its module."""

    def __init__(self) -> None:
        super().__init__()
        self.host = nn.BatchNorm1d(2)
        self.kept = {"general": self.host, "liver": nn.Linear(2, 2)}

    def sites(self):
        return {}

    def experts(self):
        return self.kept

    def phases(self):
        return (Phase("finetune", ("experts.liver.*",)),)

    def forward(self, batch):
        return batch, {}


def test_each_tensor_has_one_name_buffers_and_banked_experts_included():
    names = ["host.weight", "host.bias", "host.running_mean", "host.running_var"]
    names += ["host.num_batches_tracked", "experts.liver.weight", "experts.liver.bias"]
    assert list(tensors_of(Banked())) == names


def test_a_pattern_for_a_banked_expert_names_nothing_of_another_whose_id_begins_alike():
    system = Banked()
    system.kept["liver.v2"] = nn.Linear(2, 2)
    (phase,) = system.phases()
    assert phase.names(tensors_of(system)) == ("experts.liver.weight", "experts.liver.bias")


@pytest.mark.parametrize("make", [ByPrompt, ByToken, Shared])
def test_experts_that_are_part_of_the_module_keep_their_names_there(make):
    system = make(Dense(), 3)
    assert isinstance(system, System)
    assert all(isinstance(site, Site) for site in system.sites().values())
    assert set(tensors_of(system)) == set(dict(system.named_parameters()))


def test_in_a_phase_only_what_it_names_learns_and_afterwards_all_is_as_before():
    system = Banked()
    system.host.weight.requires_grad_(False)
    before = {name: tensor.requires_grad for name, tensor in tensors_of(system).items()}
    with pytest.raises(RuntimeError, match="stop"), learning(system, system.phases()[0]) as learnt:
        assert list(learnt) == ["experts.liver.weight", "experts.liver.bias"]
        assert {n for n, t in tensors_of(system).items() if t.requires_grad} == set(learnt)
        raise RuntimeError("stop")
    assert {name: tensor.requires_grad for name, tensor in tensors_of(system).items()} == before


def test_a_phase_that_names_nothing_there_is_refused():
    with pytest.raises(ConfigError, match=r"phase 'gate': nothing is named 'gates\.\*'"):
        Phase("gate", ("host.*", "gates.*")).names(tensors_of(Banked()))


def test_a_phase_names_each_tensor_once_in_the_systems_order():
    phase = Phase("all", ("host.bias", "host.*"))
    assert phase.names({"host.weight": torch.ones(1), "host.bias": torch.ones(1)}) == (
        "host.weight",
        "host.bias",
    )
