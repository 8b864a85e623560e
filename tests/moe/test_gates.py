"""Each kind of gate by hand, found by its name."""

import sys
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam_moe.errors import ConfigError
from sam_moe.moe.gate import Gate, GateShape
from sam_moe.moe.gates import GATES
from sam_moe.moe.gates._making import check_kind, make_gate


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


OFFERED = """
from sam_moe.moe.gates.linear import Linear


class Mine(Linear):
    kind = "mine"


class Nameless(Linear): ...


class Other: ...
"""


@pytest.fixture
def another_package(tmp_path, monkeypatch):
    (tmp_path / "offered_gates.py").write_text(OFFERED)
    place = tmp_path / "offered-1.0.dist-info"
    place.mkdir()
    (place / "METADATA").write_text("Metadata-Version: 2.1\nName: offered\nVersion: 1.0\n")
    names = {"mine": "Mine", "alias": "Mine", "nameless": "Nameless", "other": "Other"}
    points = "".join(f"{name} = offered_gates:{kind}\n" for name, kind in names.items())
    (place / "entry_points.txt").write_text(f"[sam_moe.gates]\n{points}")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("offered_gates", None)


def test_another_packages_gate_is_made_by_its_name(another_package):
    assert make_gate("mine", GateShape(6), 2).kind == "mine"


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("alias", "kind of gate 'alias' is class Mine, which names itself 'mine'. .*`kind = 'alias'`"),
        ("nameless", "'nameless' is class Nameless, which names itself 'linear'. .*`kind = 'nameless'`"),
        ("other", "kind of gate 'other' is .*Other.*. Expected a subclass of `sam_moe.moe.gate.Gate`"),
    ],
)
def test_a_gate_that_a_card_would_name_otherwise_is_refused(another_package, name, complaint):
    with pytest.raises(ConfigError, match=complaint):
        make_gate(name, GateShape(6), 2)


def test_a_kind_that_names_itself_not_at_all_is_refused():
    class Unnamed(Gate): ...

    with pytest.raises(ConfigError, match="kind of gate 'mine' is class Unnamed, which names itself None"):
        check_kind("mine", Unnamed)
