"""A gate's card says what was measured; its bank holds a few prompts of each expert."""

import pytest
import torch

from sam_moe.registry import Base, ExpertRef, MadeBy, read_entry
from sam_moe.systems.sam_med3d_moe.train_gate.card import (
    Choosing,
    TrainedGate,
    bank_of,
    load_banks,
    save_banks,
    ship_gate,
)
from sam_moe.systems.sam_med3d_moe.train_gate.figures import GAINED, LEFT, LOST
from sam_moe.systems.sam_med3d_moe.train_gate.fitting import Tables, fresh_gate
from sam_moe.systems.sam_med3d_moe.train_gate.settings import GateWords
from sam_moe.training.recipes.card import Provenance
from tests.systems.sam_med3d_moe.train_gate.tables import FEATURES, by_hand

OWNERS = [0] * 40 + [1] * 200
TABLE = by_hand(OWNERS, [[0.5, 0.2]] * 40 + [[0.2, 0.6]] * 200, None, ("liver", "cord"))
REFS = (ExpertRef(id="base", sha256="0" * 64), ExpertRef(id="cord", sha256="1" * 64))


def shipped(gate, folder, choosing):
    """The card of a gate over a base and a cord, of step 7."""
    words = GateWords(id="moe", title="Two", licence="Apache-2.0")
    provenance = Provenance(MadeBy(command="sam-moe train-gate x"), "here")
    return ship_gate(TrainedGate(gate, 7), folder, words, REFS, Tables(TABLE, TABLE), choosing, provenance)


def test_a_bank_has_at_most_64_prompts_of_an_expert_evenly_over_all():
    assert len(bank_of(TABLE, 0).pooled) == 40
    bank = bank_of(TABLE, 1)
    assert len(bank.pooled) == 64
    assert torch.equal(bank.prompt[[0, 63]], TABLE.seen.prompt[[40, 239]])


def test_banks_come_back_as_they_were(tmp_path):
    banks = {"base": bank_of(TABLE, 0), "spinal-cord.2": bank_of(TABLE, 1)}
    save_banks(banks, tmp_path / "bank.safetensors")
    again = load_banks(tmp_path / "bank.safetensors")
    assert set(again) == set(banks)
    for id, bank in banks.items():
        assert all(torch.equal(a, b.float()) for a, b in zip(again[id], bank, strict=True))


@pytest.mark.parametrize(("selection", "k"), [("threshold", None), ("top_k", 2), ("dense", None)])
def test_the_card_agrees_with_what_lies_beside_it(tmp_path, selection, k):
    """A gate that is sure of column 1 for all loses 0.3 on the liver, so that the threshold is above it."""
    gate = fresh_gate(FEATURES, 2, 16, "image", 0)
    gate.columns[1].bias.data.fill_(2.0)
    card = shipped(gate, tmp_path, Choosing(selection, {} if k is None else {"k": k}))
    assert card == read_entry(tmp_path / "card.json").card
    assert (
        card.experts == REFS
        and card.base == Base(id="base", sha256="0" * 64)
        and (card.selection, card.k) == (selection, k)
    )
    assert (card.architecture.features, card.architecture.hidden, card.architecture.mode) == (6, 16, "image")
    assert (card.threshold is not None) == bool(card.curve) == (selection == "threshold")
    chosen = [m for m in card.measured if m.metric == "threshold"]
    found = {(m.metric, m.data): m.value for m in card.measured}
    assert found["Dice, general", "liver, here"] == 0.5
    if selection != "threshold":  # softmax of 0 and 2 is 0.119 and 0.881, the weights of its two experts
        assert chosen == [] and ("Dice", "liver, here") not in found  # the table keeps no answers to fuse
        assert found["routed to its owner", "cord, here"] == pytest.approx(0.8808)
        return
    assert chosen[0].value == card.threshold > 0.88 and "step 7" in chosen[0].protocol
    assert found["Dice", "liver, here"] == 0.5
    assert found["routed to its owner", "cord, here"] == 0.0


def test_figures_are_those_of_the_selection_that_the_card_names(tmp_path):
    """The surest is column 1 for all, which no threshold would let pass: liver loses 0.3, cord gains 0.4."""
    gate = fresh_gate(FEATURES, 2, 16, "image", 0)
    gate.columns[1].bias.data.fill_(2.0)
    card = shipped(gate, tmp_path, Choosing("argmax"))
    found = {(m.metric, m.data): m.value for m in card.measured}
    assert found["Dice", "liver, here"] == 0.2 and found["Dice", "cord, here"] == 0.6
    assert found[GAINED, "here"] == pytest.approx(0.4) and found[LOST, "here"] == pytest.approx(0.3)
    assert found[LEFT, "here"] == 0.0
    assert all("the surest" in m.protocol for m in card.measured)


def test_a_gate_that_no_threshold_makes_safe_is_warned_of(tmp_path, caplog):
    gate = fresh_gate(FEATURES, 2, 16, "image", 0)
    gate.columns[1].bias.data.fill_(200.0)  # its confidence is 1, which every threshold lets pass
    shipped(gate, tmp_path, Choosing())
    assert "no threshold keeps the loss within 0.005 Dice" in caplog.text
