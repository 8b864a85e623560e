"""What the gate sees, by hand; its columns keep every bit when others come and go; it stays light."""

import pytest
import torch
from torch import nn

from sam_moe.errors import ConfigError
from sam_moe.moe.gate import Gate, check_lightweight, parameter_share
from sam_moe.systems.sam_med3d_moe.gate import GateInput, gate_input, gating_network

NAN = float("nan")


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def seen(batch: int = 5, features: int = 6) -> GateInput:
    return GateInput(*(noise(batch, features, seed=i) for i in range(3)))


@pytest.fixture
def gate(generator) -> Gate:
    gate = gating_network(features=6, experts=3, hidden=8)
    for parameter in gate.parameters():
        nn.init.normal_(parameter, generator=generator)
    return gate


def test_the_embedding_is_seen_where_the_prompt_points():
    """Cell (i, j, k) of 4 has its centre at (i + 0.5, …) / 4; halfway between two cells is their mean."""
    embedding = noise(2, 6, 4, 4, 4)
    places = torch.tensor([[[0.125, 0.375, 0.875]], [[0.25, 0.625, 0.625]]])
    at = gate_input(embedding, noise(2, 1, 6), places).at_prompt
    torch.testing.assert_close(at[0], embedding[0, :, 0, 1, 3])
    torch.testing.assert_close(at[1], embedding[1, :, :2, 2, 2].mean(dim=1))


def test_several_places_are_averaged_and_tokens_without_one_do_not_count():
    embedding = noise(1, 6, 4, 4, 4)
    places = torch.tensor(
        [[[0.125, 0.125, 0.125], [NAN, NAN, NAN], [0.875, 0.875, 0.375], [1.0, 1.0, 0.375]]]
    )
    at = gate_input(embedding, noise(1, 4, 6), places).at_prompt
    expected = (embedding[0, :, 0, 0, 0] + 2 * embedding[0, :, 3, 3, 1]) / 3
    torch.testing.assert_close(at[0], expected)


def test_without_a_place_the_whole_is_seen_there_and_without_tokens_zeros():
    embedding = noise(2, 6, 4, 4, 4)
    ignored = gate_input(embedding, noise(2, 1, 6), torch.full((2, 1, 3), NAN))
    assert torch.equal(ignored.at_prompt, ignored.pooled)
    torch.testing.assert_close(ignored.pooled, embedding.flatten(2).mean(dim=-1))
    nothing = gate_input(embedding, noise(2, 0, 6), torch.zeros(2, 0, 3))
    assert torch.equal(nothing.at_prompt, nothing.pooled)
    assert torch.equal(nothing.prompt, torch.zeros(2, 6))


def test_the_prompt_is_the_mean_of_its_tokens_in_float32_whatever_came_in():
    sparse = noise(1, 3, 6).bfloat16()
    found = gate_input(noise(1, 6, 4, 4, 4).bfloat16(), sparse, torch.full((1, 3, 3), 0.5))
    assert {part.dtype for part in found} == {torch.float32}
    torch.testing.assert_close(found.prompt, sparse.float().mean(dim=1))


def test_a_new_gate_is_undecided_and_learns_from_its_first_step():
    gate = gating_network(6, 4, 8)
    logits = gate(seen())
    assert torch.equal(logits, torch.zeros(5, 4))
    logits[:, 1].sum().backward()
    assert gate.columns[1].weight.grad is not None and gate.columns[1].weight.grad.abs().sum() > 0


@pytest.mark.parametrize("batch", [1, 7])
def test_adding_and_removing_columns_keeps_every_bit_of_the_others(gate, batch):
    with torch.no_grad():
        before = gate(seen(batch))
        for _ in range(20):
            nn.init.ones_(gate.add_column().weight)
        assert gate.experts == 23
        assert torch.equal(gate(seen(batch))[:, :3], before)
        for _ in range(20):
            gate.remove_column(3)
        gate.remove_column(1)
        assert torch.equal(gate(seen(batch)), before[:, [0, 2]])


def test_after_freezing_only_a_new_column_learns(gate):
    gate.freeze()
    gate.add_column()
    gate(seen()).logsumexp(dim=-1).sum().backward()
    learning = {name for name, p in gate.named_parameters() if p.grad is not None}
    assert learning == {"columns.3.weight", "columns.3.bias"}


@pytest.mark.parametrize(("mode", "moved"), [("image", {0}), ("prompt", {2}), ("both", {0, 1, 2})])
def test_each_control_sees_its_part_alone(mode, moved, generator):
    gate = gating_network(6, 2, 8, mode)
    for parameter in gate.parameters():
        nn.init.normal_(parameter, generator=generator)
    given = seen()
    changed = {
        i
        for i in range(3)
        if not torch.equal(
            gate(given), gate(GateInput(*(p + (i == j) * noise(5, 6) for j, p in enumerate(given))))
        )
    }
    assert changed == moved


def test_the_general_experts_column_stays(gate):
    for index in (0, 3, -1):
        with pytest.raises(ConfigError, match=r"cannot be removed. Expected 1 to 2"):
            gate.remove_column(index)


def test_a_gate_has_at_most_one_parameter_in_a_hundred_of_the_backbones():
    """6 features, 4 wide: norms 3 * 12, trunk 18 * 4 + 4, two columns of 4 + 18 + 1."""
    gate = gating_network(6, 2, 4)
    assert parameter_share(gate, nn.Linear(158, 1, bias=False)) == 1
    check_lightweight(gate, nn.Linear(15_800, 1, bias=False))
    with pytest.raises(
        ConfigError, match=r"158 parameters, 1\.6% of the backbone's 10,000.*`hidden` smaller"
    ):
        check_lightweight(gate, nn.Linear(10_000, 1, bias=False))


def test_a_gate_over_no_expert_is_refused():
    with pytest.raises(ConfigError, match="scores none. Expected 1 or more"):
        gating_network(6, 0, 8)
