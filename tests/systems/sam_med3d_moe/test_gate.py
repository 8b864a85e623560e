"""What SAM-Med3D-MoE's gate is given, by hand; what each mode leaves out; how a card describes it."""

import pytest
import torch
from torch import nn

from sam_moe.errors import ConfigError
from sam_moe.registry import GateSizes
from sam_moe.systems.sam_med3d_moe.gate import GateInput, gate_input, gate_of, gating_network, sizes_of_gate

NAN = float("nan")


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def seen(batch: int = 5, features: int = 6) -> GateInput:
    return GateInput(*(noise(batch, features, seed=i) for i in range(3)))


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


@pytest.mark.parametrize("mode", ["both", "image"])
@pytest.mark.parametrize("kind", [None, "linear"])
def test_a_gate_is_what_its_card_describes(mode, kind):
    sizes = GateSizes(features=6, hidden=8, columns=3, mode=mode, kind=kind)
    gate = gate_of(sizes)
    assert sizes_of_gate(gate) == sizes and gate.kind == (kind or "trunk")
    assert gate(seen()).shape == (5, 3)


def test_a_linear_gate_sees_all_parts_one_behind_the_other():
    gate = gating_network(6, 2, 8, kind="linear")
    nn.init.constant_(gate.columns[1].weight[12:], 1.0)
    torch.testing.assert_close(gate(seen())[:, 1], seen().prompt.sum(dim=1))


def test_an_unknown_kind_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"kind of gate 'liner' is unknown. Known, nearest first: linear"):
        gating_network(6, 2, 8, kind="liner")
