"""Columns of any gate keep every bit when others come and go; a gate stays light."""

import pytest
import torch
from torch import nn

from sam_moe.errors import ConfigError
from sam_moe.moe.gate import Gate, GateShape, check_lightweight, parameter_share
from sam_moe.moe.gates import GATES
from sam_moe.moe.gates._making import make_gate

KINDS = GATES.own


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=KINDS)
def gate(request, generator) -> Gate:
    gate = make_gate(request.param, GateShape(6, hidden=8), 3)
    for parameter in gate.parameters():
        nn.init.normal_(parameter, generator=generator)
    return gate


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_gate_is_undecided_and_learns_from_its_first_step(kind):
    gate = make_gate(kind, GateShape(6, hidden=8), 4)
    logits = gate(noise(5, 6))
    assert torch.equal(logits, torch.zeros(5, 4))
    logits[:, 1].sum().backward()
    assert gate.columns[1].weight.grad is not None and gate.columns[1].weight.grad.abs().sum() > 0


@pytest.mark.parametrize("rows", [(1,), (7,), (2, 3), (2, 2, 4), (0,), (2, 0)])
def test_adding_and_removing_columns_keeps_every_bit_of_the_others(gate, rows):
    seen = noise(*rows, 6)
    with torch.no_grad():
        before = gate(seen)
        assert before.shape == (*rows, 3)
        for _ in range(20):
            nn.init.ones_(gate.add_column().weight)
        assert gate.experts == 23
        assert torch.equal(gate(seen)[..., :3], before)
        for _ in range(20):
            gate.remove_column(3)
        gate.remove_column(1)
        assert torch.equal(gate(seen), before[..., [0, 2]])


def test_rows_are_scored_alike_in_whatever_axes_they_stand(gate):
    seen = noise(2, 3, 4, 6)
    torch.testing.assert_close(gate(seen), gate(seen.reshape(-1, 6)).reshape(2, 3, 4, 3))


def test_after_freezing_only_a_new_column_learns(gate):
    gate.requires_grad_(False)
    gate.add_column()
    gate(noise(5, 6)).logsumexp(dim=-1).sum().backward()
    learning = {name for name, p in gate.named_parameters() if p.grad is not None}
    assert learning == {"columns.3.weight", "columns.3.bias"}


def test_under_autocast_and_for_half_features_it_scores_in_its_own_precision(gate):
    seen = noise(5, 6).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert gate(seen).dtype == torch.float32
        assert torch.equal(gate(seen), gate(seen.float()))
    assert gate.double()(seen).dtype == gate.add_column().weight.dtype == torch.float64


def test_the_general_experts_column_stays(gate):
    for index in (0, 3, -1):
        with pytest.raises(ConfigError, match=r"cannot be removed. Expected 1 to 2"):
            gate.remove_column(index)


def test_a_gate_has_at_most_one_parameter_in_a_hundred_of_the_backbones():
    """6 features of 3 parts, 4 wide: norms 3 * 12, trunk 18 * 4 + 4, two columns of 4 + 18 + 1."""
    gate = make_gate("trunk", GateShape(6, hidden=4, parts=("a", "b", "c")), 2)
    assert parameter_share(gate, nn.Linear(158, 1, bias=False)) == 1
    check_lightweight(gate, nn.Linear(15_800, 1, bias=False))
    with pytest.raises(
        ConfigError, match=r"158 parameters, 1\.6% of the backbone's 10,000.*`hidden` smaller"
    ):
        check_lightweight(gate, nn.Linear(10_000, 1, bias=False))


@pytest.mark.parametrize("kind", KINDS)
def test_a_gate_over_no_expert_is_refused(kind):
    with pytest.raises(ConfigError, match="a gate over 0 experts scores none"):
        make_gate(kind, GateShape(6, hidden=8), 0)
