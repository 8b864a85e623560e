"""Each kind of gate by hand, found by its name."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam_moe.moe.gate import Gate, GateShape
from sam_moe.moe.gates import GATES


class Parts(NamedTuple):
    left: Tensor
    right: Tensor


@pytest.mark.parametrize("name", GATES.own)
def test_a_kind_is_named_as_its_file(name):
    kind = GATES.load(name)
    assert issubclass(kind, Gate) and kind.kind == name


def test_a_linear_gate_is_a_linear_layer(generator):
    gate, layer = GATES.load("linear")(GateShape(5), 3), nn.Linear(5, 3)
    for n, column in enumerate(gate.columns):
        column.weight.data, column.bias.data = layer.weight[n].data, layer.bias[n].data
    seen = torch.randn(2, 7, 5, generator=generator)
    torch.testing.assert_close(gate(seen), layer(seen))


def test_a_trunk_gate_is_norms_a_layer_and_columns_on_both(generator):
    gate = GATES.load("trunk")(GateShape(5, hidden=4, parts=("left", "right")), 2)
    for parameter in gate.parameters():
        nn.init.normal_(parameter, generator=generator)
    parts = Parts(*(torch.randn(3, 5, generator=generator) for _ in range(2)))
    normal = [
        F.layer_norm(p, (5,), n.weight, n.bias) for p, n in zip(parts, gate.norms.values(), strict=True)
    ]
    x = torch.cat(normal, dim=1)
    x = torch.cat([F.gelu(x @ gate.trunk.weight.T + gate.trunk.bias), x], dim=1)
    expected = torch.stack([x @ column.weight + column.bias for column in gate.columns], dim=1)
    torch.testing.assert_close(gate(parts), expected)


def test_state_names_stay_those_of_published_weights():
    state = GATES.load("trunk")(GateShape(6, 8, ("pooled",)), 1).state_dict()
    assert list(state) == [
        "norms.pooled.weight",
        "norms.pooled.bias",
        "trunk.weight",
        "trunk.bias",
        "columns.0.weight",
        "columns.0.bias",
    ]
