"""Many feed-forward experts as one product: equal to a loop over them, for every rule, at any shape."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sam_moe.errors import ConfigError
from sam_moe.moe.bank import ExpertBank
from sam_moe.moe.by_row import ByRow
from sam_moe.moe.dispatching.wide import FeedForward, wide
from sam_moe.moe.gate import GateShape
from sam_moe.moe.gates.linear import Linear
from sam_moe.moe.rules.argmax import Argmax
from sam_moe.moe.rules.dense import Dense
from sam_moe.moe.rules.forced import Forced
from sam_moe.moe.rules.threshold import Threshold
from sam_moe.moe.rules.top_k import TopK
from sam_moe.moe.rules.uniform import Uniform
from sam_moe.moe.site import MoESite, SiteKind
from tests.systems.toys import decided, seeded

WIDTH, HIDDEN, IDS = 6, 10, ("ct", "mr-t2", "mr-t1")
RULES = [Dense(), Uniform(), Uniform(raw=True), TopK(2), TopK(2, raw=True), TopK(1), Argmax(), Threshold(0.5)]
RULES += [Forced(1), ByRow(torch.tensor([2, 0, 1, 1]))]


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def experts_of(count):
    return [seeded(n, lambda: FeedForward(WIDTH, HIDDEN)) for n in range(count)]


def site(rule, dispatch, granularity="token", count=3):
    experts = dict(zip(IDS, experts_of(count), strict=False))
    gate = decided(Linear(GateShape(WIDTH), count), 7)
    return MoESite(experts, gate, rule, SiteKind(granularity, "sum", dispatch))


def test_one_expert_of_one_hidden_unit_by_hand():
    """1 in, weight 2, bias 1: gelu(3) = 2.99595; times 4, plus 0.5: 12.48380; a quarter of it: 3.12095."""
    one = FeedForward(1, 1)
    for parameter, value in zip(one.parameters(), (2.0, 1.0, 4.0, 0.5), strict=True):
        nn.init.constant_(parameter, value)
    found = wide([one], torch.ones(1, 1), torch.tensor([[0.25]]))
    torch.testing.assert_close(found, torch.tensor([[3.12095]]), rtol=0, atol=1e-5)


@given(
    st.integers(1, 4),
    st.lists(st.integers(0, 3), min_size=1, max_size=2),
    st.lists(st.integers(1, 3), max_size=2),
    st.integers(0, 1000),
)
def test_it_is_the_loop_over_experts_at_any_shape(count, rows, inner, seed):
    """Rows are weighed; what lies behind a row has its weights."""
    experts = experts_of(count)
    x, weights = noise(*rows, *inner, WIDTH, seed=seed), noise(*rows, count, seed=seed + 1)
    with torch.no_grad():
        found = wide(experts, x, weights)
        loop = torch.zeros_like(x)
        for n, expert in enumerate(experts):
            loop = loop + weights[..., n].reshape(*rows, *[1] * len(inner), 1) * expert(x)
    torch.testing.assert_close(found, loop, rtol=0, atol=1e-5)


@pytest.mark.parametrize("granularity", ["token", "prompt"])
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_wide_site_is_the_grouped_and_the_dense_one_for_every_rule(rule, granularity):
    x = noise(4, 5, WIDTH)
    seen = x if granularity == "token" else x.mean(dim=1)
    with torch.no_grad():
        found, routing = site(rule, "wide", granularity)(x, seen)
        for dispatch in ("grouped", "dense"):
            expected, same = site(rule, dispatch, granularity)(x, seen)
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
            assert torch.equal(routing.weights, same.weights)


@pytest.mark.parametrize("granularity", ["token", "prompt"])
def test_through_a_wide_site_a_single_expert_answers_to_the_bit(granularity):
    x = noise(4, 5, WIDTH)
    seen = x if granularity == "token" else x.mean(dim=1)
    experts = experts_of(3)
    with torch.no_grad():
        for index, expert in enumerate(experts):
            assert torch.equal(site(Forced(index), "wide", granularity)(x, seen)[0], expert(x))
        found = site(ByRow(torch.tensor([2, 0, 1, 0])), "wide", granularity)(x, seen)[0]
        for row, index in enumerate((2, 0, 1, 0)):
            torch.testing.assert_close(found[row], experts[index](x[row]), rtol=0, atol=1e-6)


def test_gradients_are_those_of_the_loop():
    x, grads = noise(4, 5, WIDTH), []
    for dispatch in ("wide", "dense"):
        one = site(Dense(), dispatch)
        one(x)[0].square().sum().backward()
        grads.append({name: parameter.grad for name, parameter in one.named_parameters()})
    assert grads[0].keys() == grads[1].keys() and any(".gate" in f".{name}" for name in grads[0])
    for name, grad in grads[0].items():
        torch.testing.assert_close(grad, grads[1][name], rtol=1e-4, atol=1e-4)


def test_its_matrices_have_the_public_names():
    assert list(FeedForward(2, 3).state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]


def test_a_shared_expert_is_added_to_the_wide_sum():
    experts, x = dict(zip(IDS, experts_of(3), strict=True)), noise(4, WIDTH)
    shared = seeded(9, lambda: FeedForward(WIDTH, HIDDEN))
    gate = decided(Linear(GateShape(WIDTH), 3), 7)
    with torch.no_grad():
        both = MoESite(experts, gate, Dense(), SiteKind("token", "sum", "wide"), shared)(x)[0]
        torch.testing.assert_close(both, site(Dense(), "wide")(x)[0] + shared(x))


REFUSED = [
    ({"ct": nn.Linear(WIDTH, WIDTH)}, SiteKind("token", "sum", "wide")),
    ({"ct": FeedForward(WIDTH, HIDDEN)}, SiteKind("pixel", "sum", "wide")),
    ({"ct": FeedForward(WIDTH, HIDDEN)}, SiteKind("token", "logits", "wide")),
    (
        ExpertBank(["ct"], lambda id: FeedForward(WIDTH, HIDDEN), FeedForward(WIDTH, HIDDEN)),
        SiteKind("token", "sum", "wide"),
    ),
]


@pytest.mark.parametrize(("experts", "kind"), REFUSED, ids=["linear", "pixel", "logits", "bank"])
def test_what_has_no_wide_product_is_refused(experts, kind):
    count = len(experts.ids) if isinstance(experts, ExpertBank) else len(experts)
    with pytest.raises(ConfigError, match=r'dispatch "wide" is for.*Take "grouped"'):
        MoESite(experts, Linear(GateShape(WIDTH), count), Dense(), kind)


def test_an_expert_that_does_not_fit_is_not_taken_in():
    one = site(Dense(), "wide")
    with pytest.raises(ConfigError, match=r'Take "grouped"'):
        one.add("pet", nn.Linear(WIDTH, WIDTH))
    assert one.ids == IDS and one.gate.experts == 3 and one(noise(2, WIDTH))[0].shape == (2, WIDTH)
