"""A gate learns a further expert from a few prompts; old columns and old routing stay."""

import shutil

import pytest
import torch

from sam_moe.assemble.convert import user_folder
from sam_moe.assemble.experts import add_expert
from sam_moe.assemble.mixture import load_gate
from sam_moe.errors import CardError, ConfigError
from sam_moe.moe.gate import GateInput
from sam_moe.moe.selection import Argmax, Threshold
from sam_moe.registry import read_entry
from sam_moe.space.files import read, write_mask
from sam_moe.training.column import find_gate, fit_column, grow_gate
from sam_moe.training.gate import fresh_gate, logits_of
from sam_moe.training.gate_card import load_banks
from tests.training.tables import FEATURES, crossed, learn


def prompts(at, rows=64, seed=0):
    """Prompts whose image's and prompt's first feature are around these two."""
    rng = torch.Generator().manual_seed(seed)
    parts = [torch.randn(rows, FEATURES, generator=rng) * 0.1 for _ in range(3)]
    for part, value in ((0, at[0]), (2, at[1])):
        parts[part][:, 0] += value
    return GateInput(*parts)


@pytest.fixture
def gate(tmp_path):
    """Tells 0 from 1 where the signs of image and prompt agree or not; knows nothing of the rest."""
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
    with pytest.raises(ConfigError, match=r"cannot tell the examples .* most go to column 1"):
        fit_column(gate, banks, banks[1], Threshold(0.5))
    assert gate.experts == 2


def test_a_bank_a_column_is_asked_for(gate, banks):
    with pytest.raises(ConfigError, match="1 banks for 2 columns"):
        fit_column(gate, banks[:1], banks[1], Argmax())


@pytest.fixture
def cases(folder, tmp_path):
    """Plain folders of images and labels, with the ball alone."""
    for kind, end in (("images", ""), ("labels", "_label")):
        (tmp_path / "cases" / kind).mkdir(parents=True)
        for case in "abc":
            source = folder / "balls" / f"{case}{end}.nii.gz"
            shutil.copy(source, tmp_path / "cases" / kind / f"{case}.nii.gz")
    for path in (tmp_path / "cases" / "labels").iterdir():
        mask = read(path)
        write_mask(path, (mask.array == 1).to(torch.uint8), mask.grid)
    return tmp_path / "cases"


@pytest.mark.slow
def test_a_gate_grows_into_a_new_one_that_knows_the_new_expert_and_stays_itself(team, cases, trained_gate):
    gate = read_entry(trained_gate / "card.json")
    before = load_gate(gate, team.model).state_dict()
    kept = {path.name: path.read_bytes() for path in trained_gate.iterdir() if path.is_file()}
    expert = add_expert(team.expert("new", seed=7))
    grown, where = grow_gate(gate, expert, cases)
    after = read_entry(where / "card.json")
    assert after.card.id == f"{gate.card.id}-new" and where == user_folder() / after.card.id
    assert {path.name: path.read_bytes() for path in trained_gate.iterdir() if path.is_file()} == kept
    assert [ref.id for ref in after.card.experts] == ["tiny-base", "old", "new"]
    assert after.card.architecture.columns == 3 and after.card.selection == "argmax"
    state = load_gate(after, team.model).state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in before.items())
    assert grown.kept >= 0.99
    bank = read_entry(expert.path).card.feature_bank
    assert list(load_banks(expert.folder / bank.file)) == ["new"]
    banks = load_banks(where / after.card.feature_bank.file)
    assert set(banks) == {"tiny-base", "old", "new"} and len(banks["new"].pooled) == 64
    with pytest.raises(CardError, match="'new' has a column already"):
        grow_gate(after, expert, cases)


@pytest.mark.slow
def test_a_new_gate_needs_an_id_that_is_one_and_is_free(team, cases, trained_gate):
    gate, expert = find_gate(str(trained_gate)), add_expert(team.expert("new", seed=7))
    with pytest.raises(ConfigError, match=r"the new gate: id: .*'My Gate'"):
        grow_gate(gate, expert, cases, "My Gate")
    with pytest.raises(CardError, match=r"tiny-base: a card is there already"):
        grow_gate(gate, expert, cases, "tiny-base")
    _, where = grow_gate(gate, expert, cases, "mine")
    assert find_gate("mine").folder == where
    with pytest.raises(CardError, match=r"mine: a card is there already"):
        grow_gate(gate, expert, cases, "mine")
    with pytest.raises(CardError, match=r"is the card of an? expert, not of a gate"):
        find_gate(str(expert.folder))
