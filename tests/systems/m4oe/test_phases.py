"""What learns in each phase, by name."""

import pytest
import torch
from torch import nn

from sam_moe.moe.system import tensors_of
from sam_moe.systems.m4oe.phases import phases_of
from tests.systems.m4oe.tiny import CONV, SWIN, mixture_of, network

BOTH = pytest.mark.parametrize("sizes", [CONV, SWIN], ids=["conv", "swin"])


def learning(model):
    tensors = tensors_of(model)
    return {phase.name: set(phase.names(tensors)) for phase in model.phases()}, set(tensors)


def parameters(tensors, model):
    found = dict(tensors_of(model))
    return {name for name in tensors if isinstance(found[name], nn.Parameter)}


@BOTH
def test_the_trunk_learns_without_gates_the_gate_alone_and_then_all(sizes):
    model = network(sizes, mixture_of())
    phases, every = learning(model)
    every = parameters(every, model)
    gates = {name for name in every if ".gate." in name}
    assert list(phases) == ["trunk", "masked-ct", "masked-mr-t2", "masked-mr-t1", "gate", "together"]
    assert gates and parameters(phases["gate"], model) == gates
    assert parameters(phases["trunk"], model) == every - gates
    assert parameters(phases["together"], model) == every


@BOTH
def test_masked_images_teach_one_expert_and_nothing_else(sizes):
    model = network(sizes, mixture_of())
    phases, _ = learning(model)
    for id, parts in model.experts().items():
        own = {id_ for part in parts for id_ in map(id_of, part.parameters())}
        found = {name: tensor for name, tensor in tensors_of(model).items() if name in phases[f"masked-{id}"]}
        assert {id_of(tensor) for tensor in found.values()} == own and own


def id_of(tensor: torch.Tensor) -> int:
    return tensor.data_ptr()


@pytest.mark.parametrize("scores", ["channel", "forced", "uniform"])
def test_gates_that_weigh_no_experts_never_learn(scores):
    model = network(CONV, mixture_of(scores=scores))
    phases, every = learning(model)
    assert "gate" not in phases
    assert phases["together"] == {name for name in every if ".gate." not in name}
    assert any("gating_network" in name for name in phases["together"]) == (scores == "channel")


def test_one_expert_has_one_phase():
    (phase,) = phases_of(mixture_of(1))
    assert phase.name == "trunk"
    model = network(CONV, mixture_of(1))
    assert set(phase.names(tensors_of(model))) == set(tensors_of(model))
