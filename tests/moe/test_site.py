"""A site is gate, rule, dispatch and fusion: against loops by hand, for tokens, prompts and pixels."""

from threading import Barrier, Thread

import pytest
import torch
from torch import nn

from sam_moe.errors import ConfigError
from sam_moe.moe.bank import ExpertBank
from sam_moe.moe.gate import GateShape
from sam_moe.moe.gates.linear import Linear
from sam_moe.moe.rules.dense import Dense
from sam_moe.moe.rules.forced import Forced
from sam_moe.moe.rules.top_k import TopK
from sam_moe.moe.selection import never, rows_in, single
from sam_moe.moe.site import MoESite, Plugged, SiteKind, routings
from tests.systems.toys import IDS, WIDTH, MapOf, decided, ffn, seeded

ROUTED = IDS[:3]


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def site(rule, kind=SiteKind("token"), shared=None, make=ffn):  # noqa: B008
    experts = {id: seeded(n, make) for n, id in enumerate(ROUTED)}
    return MoESite(experts, decided(Linear(GateShape(WIDTH), 3), 7), rule, kind, shared)


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def test_every_token_is_the_sum_of_its_experts_by_weight_and_the_shared_one():
    """Med-MoE's layer: p_top1 E_top1(x) + E_shared(x)."""
    shared = seeded(9, ffn)
    one, x = site(TopK(1, raw=True), shared=shared), noise(2, 5, WIDTH)
    y, routing = one(x)
    for b in range(2):
        for n in range(5):
            p = one.gate(x[b, n][None])[0].softmax(dim=-1)
            e = int(p.argmax())
            expected = p[e] * one.experts[ROUTED[e]](x[b, n]) + shared(x[b, n])
            torch.testing.assert_close(y[b, n], expected, rtol=1e-4, atol=1e-5)
            assert list(routing.answered[5 * b + n]) == [ROUTED[e]]


@pytest.mark.parametrize("dispatch", ["grouped", "dense"])
def test_dense_is_the_weighted_sum_of_all(dispatch):
    one, x = site(Dense(), SiteKind("token", dispatch=dispatch)), noise(2, 5, WIDTH)
    weights = one.gate(x).softmax(dim=-1)
    expected = sum(weights[..., [n]] * expert(x) for n, expert in enumerate(one.experts.values()))
    torch.testing.assert_close(one(x)[0], expected)


def test_a_gate_on_pooled_features_sends_all_tokens_of_a_row_one_way():
    one, x = site(TopK(1)), noise(4, 5, WIDTH)
    y, routing = one(x, seen=x.mean(dim=1))
    assert routing.logits.shape == (4, 3)
    for b, (name,) in enumerate(routing.answered):
        torch.testing.assert_close(y[b], one.experts[name](x[b]))


def test_a_gate_that_routes_other_rows_is_refused():
    with pytest.raises(ConfigError, match=r"routes rows of shape \(3,\).*Expected the same leading axes"):
        site(Dense())(noise(4, WIDTH), seen=noise(3, WIDTH))


@pytest.mark.parametrize("shape", [(0, WIDTH), (2, 0, WIDTH)])
def test_without_rows_the_answer_has_none(shape):
    assert site(TopK(2))(noise(*shape))[0].shape == shape


@pytest.mark.parametrize("fusion", ["logits", "probabilities"])
def test_pixels_are_fused_each_by_weights_of_its_own(fusion):
    one = site(TopK(2), SiteKind("pixel", fusion), make=MapOf)
    image, seen = noise(2, WIDTH, 3, 4), noise(2, 3, 4, WIDTH, seed=1)
    y, routing = one(image, seen)
    maps = torch.stack([expert(image) for expert in one.experts.values()], dim=-1)
    values = maps if fusion == "logits" else maps.sigmoid()
    expected = (values * routing.weights).sum(dim=-1)
    torch.testing.assert_close(y if fusion == "logits" else y.sigmoid(), expected)


def test_a_pixels_expert_runs_on_the_rows_where_some_pixel_chose_it():
    one = site(TopK(1), SiteKind("pixel", "logits"), make=MapOf)
    seen = torch.stack([noise(3, 4, WIDTH, seed=1), torch.zeros(3, 4, WIDTH)])
    ran = {id: [] for id in ROUTED}
    for id, expert in one.experts.items():
        expert.register_forward_hook(lambda _, given, __, id=id: ran[id].append(len(given[0])))
    _, routing = one(noise(2, WIDTH, 3, 4), seen)
    chosen = routing.selection.experts
    for n, id in enumerate(ROUTED):
        rows = sum(bool((chosen[b] == n).any()) for b in range(2))
        assert ran[id] == ([rows] if rows else [])
    assert len(chosen[1].unique()) == 1 < len(chosen[0].unique())


def test_a_banks_experts_are_made_when_chosen():
    made = []

    def make(name):
        made.append(name)
        return seeded(len(made), ffn)

    bank = ExpertBank(ROUTED, make, seeded(0, ffn), most=1)
    one = MoESite(bank, decided(Linear(GateShape(WIDTH), 3), 7), Forced(2), SiteKind("prompt"))
    y, routing = one(noise(4, WIDTH))
    assert made == ["second"] and routing.ids == ROUTED
    torch.testing.assert_close(y, seeded(1, ffn)(noise(4, WIDTH)))
    one.add("third")
    assert one.ids == IDS[:4] and one.gate.experts == 4


def test_dense_dispatch_runs_every_expert_of_a_bank_on_every_row():
    rows = []

    def make(name):
        expert = seeded(IDS.index(name), ffn)
        expert.register_forward_hook(lambda _, given, y: rows.append((name, len(given[0]))))
        return expert

    found = {}
    for dispatch in ("grouped", "dense"):
        rows.clear()
        bank = ExpertBank(ROUTED, make, seeded(0, ffn), most=1)
        kind = SiteKind("prompt", dispatch=dispatch)
        one = MoESite(bank, decided(Linear(GateShape(WIDTH), 3), 7), Forced(2), kind)
        found[dispatch] = one(noise(4, WIDTH))[0], list(rows)
    torch.testing.assert_close(found["dense"][0], found["grouped"][0])
    assert found["grouped"][1] == [("second", 4)] and found["dense"][1] == [("first", 4), ("second", 4)]


def test_another_rule_for_one_call_leaves_the_sites_own():
    one, x = site(Dense()), noise(4, WIDTH)
    _, routing = one(x, rule=Forced(1))
    assert {name for row in routing.answered for name in row} == {"first"} and routing.rule == Forced(1)
    assert one.rule == Dense() and len(one(x)[1].answered[0]) == 3


def test_a_gate_that_sites_share_gets_one_column_for_an_expert_at_each():
    gate = Linear(GateShape(WIDTH), 1)
    sites = [MoESite({"a": seeded(0, ffn)}, gate, Dense()) for _ in range(2)]
    sites[0].add("b", seeded(1, ffn))
    with pytest.raises(ConfigError, match="the gate has 2 columns, the site 1 experts: a. Expected one"):
        sites[1](noise(3, WIDTH))
    sites[1].add("b", seeded(1, ffn))
    assert all(one(noise(3, WIDTH))[1].ids == ("a", "b") for one in sites)
    assert gate.experts == 2 and all(one.ids == ("a", "b") for one in sites)
    with pytest.raises(ConfigError, match="'b' is at the site already"):
        sites[0].add("b", seeded(1, ffn))


def test_an_expert_that_is_missing_or_too_much_is_refused_and_nothing_is_added():
    bank = ExpertBank(("a",), lambda id: ffn(), ffn())
    banked, plain = (MoESite(e, Linear(GateShape(WIDTH), 1), Dense()) for e in (bank, {"a": ffn()}))
    with pytest.raises(ConfigError, match="expert 'b' has no module. Give it one"):
        plain.add("b")
    with pytest.raises(ConfigError, match="expert 'b' was given to a bank, which makes it itself"):
        banked.add("b", ffn())
    assert all(one.ids == ("a",) and one.gate.experts == 1 for one in (banked, plain))


def test_a_gate_of_another_number_of_experts_is_refused():
    with pytest.raises(
        ConfigError, match="the gate has 2 columns, the site 3 experts: general, first, second"
    ):
        MoESite({id: ffn() for id in ROUTED}, Linear(GateShape(WIDTH), 2), Dense())


@pytest.mark.parametrize("fusion", ["logits", "probabilities"])
def test_raw_weights_are_refused_where_answers_are_averaged(fusion):
    kind = SiteKind("prompt", fusion)
    with pytest.raises(ConfigError, match="keeps raw confidences"):
        site(TopK(2, raw=True), kind)
    one = site(TopK(2), kind)
    with pytest.raises(ConfigError, match="keeps raw confidences"):
        one(noise(4, WIDTH), rule=TopK(1, raw=True))


def test_a_plugged_site_is_a_plain_module_to_its_host_and_each_thread_collects_its_own():
    host = nn.Sequential(
        Plugged(site(TopK(1)), "one"), nn.Linear(WIDTH, WIDTH), Plugged(site(Dense()), "two")
    )
    x, both, found = noise(4, WIDTH), Barrier(2, timeout=30), {}
    plain = host(x)

    def ask(index):
        with routings(Forced(index)) as mine:
            both.wait()
            host(x)
            both.wait()
            found[index] = {name: routing.answered[0] for name, routing in mine.items()}

    threads = [Thread(target=ask, args=(index,)) for index in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: {"one": {ROUTED[n]: 1.0}, "two": {ROUTED[n]: 1.0}} for n in (1, 2)}
    with routings() as outer:
        with routings(Forced(0)):
            host(x)
        assert outer == {}
        assert torch.equal(host(x), plain) and list(outer) == ["one", "two"]


def test_experts_weights_are_named_by_their_ids_in_a_checkpoint():
    names = {name.rpartition(".")[0] for name in site(Dense()).state_dict()}
    assert {f"experts.{id}.0" for id in ROUTED} | {"gate.columns.0"} <= names


def test_a_gate_may_be_given_what_the_experts_answer():
    """As IC-MoE's vote: all maps are made once, the gate scores each place by them, and they are fused."""
    maps_of = [seeded(n, MapOf) for n in range(3)]
    experts = dict(zip(ROUTED, maps_of, strict=True))
    gate = decided(Linear(GateShape(3), 3), 7)
    one = MoESite(experts, gate, TopK(2), SiteKind("pixel", "probabilities"))
    image = noise(2, WIDTH, 3, 4)
    made = {expert: expert(image) for expert in maps_of}
    maps = torch.stack(list(made.values()), dim=-1)
    routing = one.route(maps)
    y = one.answer(routing, lambda expert, rows: made[expert][rows])
    torch.testing.assert_close(y.sigmoid(), (maps.sigmoid() * routing.weights).sum(dim=-1))


def test_a_known_owner_of_each_row_can_route_it():
    """As M4oE's hard routing by data set: any class that selects and explains will do for one call."""

    class Known:
        def __init__(self, owner):
            self.owner = owner

        def select(self, confidence):
            return single(self.owner, never(confidence), confidence)

        def explain(self, confidence, chosen):
            return ("known",) * rows_in(confidence)

    one, x, owner = site(Dense()), noise(3, 5, WIDTH), torch.tensor([2, 0, 1])
    y, routing = one(x, seen=x.mean(dim=1), rule=Known(owner))
    for row, index in enumerate(owner.tolist()):
        torch.testing.assert_close(y[row], one.experts[ROUTED[index]](x[row]))
    assert routing.why == ("known",) * 3


def test_a_printed_model_shows_how_its_sites_route():
    shown = repr(nn.Sequential(site(TopK(1, raw=True)), site(Forced(1), SiteKind("pixel", "logits"))))
    assert "token, top_k:k=1,raw=true, sum, grouped" in shown
    assert "pixel, forced:index=first, logits, grouped" in shown
