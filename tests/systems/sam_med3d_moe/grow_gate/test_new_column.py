"""A gate learns a further expert from a few prompts; old columns and old routing stay."""

import pytest
import torch

from sam_moe.errors import ConfigError
from sam_moe.moe.rules.argmax import Argmax
from sam_moe.moe.rules.dense import Dense
from sam_moe.moe.rules.forced import Forced
from sam_moe.moe.rules.threshold import Threshold
from sam_moe.moe.rules.top_k import TopK
from sam_moe.moe.selection import confidence_of
from sam_moe.systems.sam_med3d_moe.gate import GateInput
from sam_moe.systems.sam_med3d_moe.grow_gate.new_column import fit_column
from sam_moe.systems.sam_med3d_moe.train_gate.fitting import fresh_gate, logits_of
from tests.systems.sam_med3d_moe.train_gate.tables import FEATURES, crossed, learn


def prompts(at, rows=64, seed=0):
    """Prompts whose image's and prompt's first feature are around these two."""
    rng = torch.Generator().manual_seed(seed)
    parts = [torch.randn(rows, FEATURES, generator=rng) * 0.1 for _ in range(3)]
    for part, value in ((0, at[0]), (2, at[1])):
        parts[part][:, 0] += value
    return GateInput(*parts)


@pytest.fixture
def gate(tmp_path):
    """Separates 0 from 1 where the signs of image and prompt agree or not; knows nothing of the rest."""
    gate = fresh_gate(FEATURES, 2, 16, "both", 0)
    gate.load_state_dict(learn(tmp_path / "run", 120, batch_size=32).weights)
    return gate.requires_grad_(False)


@pytest.fixture
def banks():
    table = crossed()
    return [GateInput(*(part[table.owner == n][:64].float() for part in table.seen)) for n in (0, 1)]


def test_a_new_expert_is_reached_and_the_old_ones_stay_to_the_bit(gate, banks):
    before = {name: tensor.clone() for name, tensor in gate.state_dict().items()}
    new = prompts((0.0, 2.0))
    grown = fit_column(gate, banks, new, Threshold(0.5))
    assert grown.gate is gate and gate.experts == 3
    assert grown.kept >= 0.99 and grown.reached > 0.8
    assert all(torch.equal(gate.state_dict()[name], tensor) for name, tensor in before.items())
    unseen = gate(prompts((0.0, 2.0), seed=5))
    assert (unseen.argmax(dim=1) == 2).float().mean() > 0.75


def test_the_old_logits_keep_every_bit(gate, banks):
    table = crossed()
    before = logits_of(gate, table)
    fit_column(gate, banks, prompts((2.0, 0.0)), Argmax())
    assert torch.equal(logits_of(gate, table)[:, :2], before)


def test_an_expert_that_wants_what_another_has_is_lowered_until_old_routing_holds(gate, banks):
    """Half of the examples lie on expert 1's prompts; those it must not take."""
    mixed = GateInput(*(torch.cat(p) for p in zip(prompts((-2.0, 2.0)), prompts((0.0, 6.0)), strict=True)))
    grown = fit_column(gate, banks, mixed, Threshold(0.5))
    assert grown.lowered > 0 and grown.kept >= 0.99
    assert 0 < grown.reached <= 0.6
    assert f"lowered by {grown.lowered:.1f}" in str(grown)


def test_examples_that_are_another_experts_are_refused_and_nothing_is_changed(gate, banks):
    with pytest.raises(ConfigError, match=r"cannot separate the examples .* most go to column 1"):
        fit_column(gate, banks, banks[1], Threshold(0.5))
    assert gate.experts == 2


@pytest.mark.parametrize("rule", [Argmax(), Threshold(0.5), TopK(2), Dense()])
def test_what_reaches_the_new_expert_is_judged_by_the_gates_own_rule(gate, banks, rule):
    """Asked afterwards, the grown gate does what was reported: weights of the answers, whatever the rule."""
    new = prompts((0.0, 2.0))
    grown = fit_column(gate, banks, new, rule)
    chosen = rule.select(confidence_of(grown.gate(new)))
    reached = (chosen.weights * (chosen.experts == 2)).sum(dim=1).mean()
    assert grown.reached == pytest.approx(reached.item(), abs=1e-5) and grown.reached > 0.3
    assert grown.kept >= 0.99


def test_a_gate_that_always_asks_one_expert_reaches_no_new_one(gate, banks):
    with pytest.raises(ConfigError, match="none of them reaches it"):
        fit_column(gate, banks, prompts((0.0, 2.0)), Forced(1))
    assert gate.experts == 2


def test_a_bank_a_column_is_asked_for(gate, banks):
    with pytest.raises(ConfigError, match="1 banks for 2 columns"):
        fit_column(gate, banks[:1], banks[1], Argmax())
