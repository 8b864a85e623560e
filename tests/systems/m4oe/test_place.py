"""A place with experts: what its gate sees, who answers, the public gate, and places without one."""

import pytest
import torch

from sam_moe.moe.by_row import ByRow
from sam_moe.moe.rules.forced import Forced
from sam_moe.moe.rules.uniform import Uniform
from sam_moe.systems.m4oe.place import Asked, ExpertPlace, Shared, pooled
from tests.systems.m4oe.tiny import IDS, mixture_of, noise
from tests.systems.toys import decided, seeded

WIDTH, HIDDEN = 6, 12


def place(decide=True, **choices):
    one = seeded(0, lambda: ExpertPlace("here", WIDTH, HIDDEN, mixture_of(**choices)))
    if decide:
        decided(one.site.gate, 3)
    return one


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def test_a_slice_is_weighed_by_the_softmax_of_its_mean_vector():
    """The paper's formula: y = sum_e softmax_e(W g) E_e(x), g the slice's mean vector."""
    one, x, asked = place(), noise(2, 5, WIDTH), Asked()
    y = one(x, asked)
    for row in range(2):
        weights = one.site.gate(x[row].mean(dim=0)).softmax(dim=-1)
        loop = sum(weights[e] * one.expert(id)(x[row]) for e, id in enumerate(IDS[:3]))
        torch.testing.assert_close(y[row], loop, rtol=0, atol=1e-5)
        torch.testing.assert_close(asked.found["here"].weights[row], weights)
    assert asked.found["here"].granularity == "prompt"


def test_each_token_is_weighed_by_itself_where_tokens_are_routed():
    one, x, asked = place(pooling="token"), noise(2, 5, WIDTH), Asked()
    y = one(x, asked)
    weights = one.site.gate(x).softmax(dim=-1)
    loop = sum(weights[..., [e]] * one.expert(id)(x) for e, id in enumerate(IDS[:3]))
    torch.testing.assert_close(y, loop, rtol=0, atol=1e-5)
    assert asked.found["here"].weights.shape == (2, 5, 3) and asked.found["here"].granularity == "token"


def test_rows_of_one_scan_share_weights_and_scans_of_other_lengths_leak_nothing():
    one, x, asked = place(pooling="volume"), noise(6, 5, WIDTH), Asked(torch.tensor([7, 3, 7, 7, 3, 9]))
    one(x, asked)
    weights = asked.found["here"].weights
    for scan, rows in {7: [0, 2, 3], 3: [1, 4], 9: [5]}.items():
        mean = x[rows].mean(dim=(0, 1))
        expected = one.site.gate(mean).softmax(dim=-1)
        for row in rows:
            torch.testing.assert_close(weights[row], expected, msg=f"scan {scan}, row {row}")
    longer = Asked(torch.tensor([7, 3, 7, 7, 3, 9, 9]))
    one(torch.cat([x, noise(1, 5, WIDTH, seed=8)]), longer)
    torch.testing.assert_close(longer.found["here"].weights[:5], weights[:5])


def test_what_a_gate_sees_by_hand():
    """Two rows of two vectors; means 2 and 6, of one scan 4."""
    x = torch.tensor([1.0, 3.0, 5.0, 7.0]).reshape(2, 2, 1)
    assert pooled(x, "token") is x
    assert pooled(x, "slice").tolist() == [[2.0], [6.0]]
    assert pooled(x, "volume", torch.tensor([5, 5])).tolist() == [[4.0], [4.0]]
    assert pooled(x, "volume", torch.tensor([5, 2])).tolist() == [[2.0], [6.0]]
    assert pooled(x, "volume").tolist() == [[2.0], [6.0]]


@pytest.mark.parametrize("pooling", ["token", "slice", "volume"])
def test_what_was_asked_for_answers_alone_to_the_bit(pooling):
    one, x = place(pooling=pooling), noise(3, 5, WIDTH)
    for index, id in enumerate(IDS[:3]):
        assert torch.equal(one(x, Asked(rule=Forced(index))), one.expert(id)(x))
    found = one(x, Asked(rule=ByRow(torch.tensor([2, 0, 1]))))
    for row, index in enumerate((2, 0, 1)):
        torch.testing.assert_close(found[row], one.expert(IDS[index])(x[row]), rtol=0, atol=1e-6)


def test_uniform_scores_average_and_do_not_ask_the_gate():
    one, x = place(scores="uniform"), noise(2, 5, WIDTH)
    mean = sum(one.expert(id)(x) for id in IDS[:3]) / 3
    torch.testing.assert_close(one(x), mean, rtol=0, atol=1e-6)
    assert one.site.rule == Uniform()


def test_the_public_gate_weighs_channels_of_the_sum_of_all_experts():
    """softmax_c(W x) * sum_e E_e(x)."""
    one, x = place(scores="channel", pooling="token"), noise(2, 5, WIDTH)
    channels = torch.softmax(x @ one.gating_network.weight.T + one.gating_network.bias, dim=-1)
    torch.testing.assert_close(one(x), channels * sum(one.expert(id)(x) for id in IDS[:3]), rtol=0, atol=1e-6)
    assert {name for name in one.state_dict() if name.startswith("gating")} == {
        "gating_network.weight",
        "gating_network.bias",
    }
    assert place().gating_network is None


@pytest.mark.parametrize(("scores", "moves"), [("expert", True), ("channel", False)])
def test_experts_alone_in_another_order_move_the_answer_but_for_the_public_gate(scores, moves):
    """Below 1e-4 with the public gate, which cannot know one expert from another; above 1e-3 with ours."""
    one, x = place(scores=scores), noise(2, 5, WIDTH)
    before = one(x)
    modules = [one.expert(id) for id in IDS[:3]]
    one.site.experts.update(dict(zip(IDS[:3], [modules[2], modules[0], modules[1]], strict=True)))
    moved = float((one(x) - before).abs().max())
    assert (moved > 1e-3) == moves and (moved < 1e-4) == (not moves)
    if moves:
        columns = one.site.gate.columns
        one.site.gate.columns = torch.nn.ModuleList(columns[n] for n in (2, 0, 1))
        torch.testing.assert_close(one(x), before, rtol=0, atol=1e-6)


def test_a_fresh_gate_weighs_all_alike():
    asked = Asked()
    place(decide=False)(noise(2, 5, WIDTH), asked)
    torch.testing.assert_close(asked.found["here"].weights, torch.full((2, 3), 1 / 3))


def test_a_place_without_gate_is_one_part_for_all():
    one, x, asked = seeded(0, lambda: Shared(WIDTH, HIDDEN)), noise(2, 5, WIDTH), Asked()
    assert torch.equal(one(x, asked), one.shared(x)) and not asked.found
    assert list(one.state_dict()) == [f"shared.{n}.{kind}" for n in (0, 2) for kind in ("weight", "bias")]


def test_its_tensors_have_these_names():
    expected = {
        f"site.experts.{id}.{n}.{kind}" for id in IDS[:3] for n in (0, 2) for kind in ("weight", "bias")
    }
    expected |= {f"site.gate.columns.{n}.{kind}" for n in range(3) for kind in ("weight", "bias")}
    assert set(place().state_dict()) == expected
