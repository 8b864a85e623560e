"""A gate becomes another with an expert more or less; it itself and the other columns stay."""

import shutil
import sys
from dataclasses import replace

import pytest
import torch

from sam_moe.cli import main
from sam_moe.errors import CardError, ConfigError
from sam_moe.registry import read_entry
from sam_moe.registry.finding import find_expert, find_gate, user_folder
from sam_moe.space.files import read, write_mask
from sam_moe.systems.sam_med3d_moe.cards.experts import add_expert
from sam_moe.systems.sam_med3d_moe.cards.mixture import load_gate, load_mixture
from sam_moe.systems.sam_med3d_moe.grow_gate.growing import grow_gate, shrink_gate
from sam_moe.systems.sam_med3d_moe.train_gate.card import load_banks


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


@pytest.fixture
def offered_rule(tmp_path):
    """The folder of another package with a rule that asks the general expert always."""
    place = tmp_path / "site" / "other-1.0.dist-info"
    place.mkdir(parents=True)
    (place.parent / "same_rule.py").write_text(
        "from dataclasses import dataclass\nfrom typing import ClassVar\n"
        "from sam_moe.moe.rules.forced import Forced\n\n\n"
        "@dataclass(frozen=True)\nclass Same(Forced):\n    name: ClassVar[str] = 'same'\n\n"
        "    def describe(self, experts=()):\n        return 'the general one'\n"
    )
    (place / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (place / "entry_points.txt").write_text("[sam_moe.rules]\nsame = same_rule:Same\n")
    yield place.parent
    sys.modules.pop("same_rule", None)


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
    assert after.card.title == f"{gate.card.id} with new" != gate.card.title
    assert after.card.made_by.command.startswith(
        gate.card.made_by.command + "; sam-moe experts add new --gate "
    )
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
def test_the_command_grows_the_gate_that_the_function_grows(team, cases, trained_gate, capsys):
    add_expert(team.expert("new", seed=7))
    words = ["gates", "add-expert", str(trained_gate), "new", "--examples", str(cases)]
    assert main([*words, "--to", "typed", "--regions", "4"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith(f"{user_folder()}/typed: a gate over 3 experts, new the last; ")
    assert shown.err.endswith("Undo it: sam-moe gates remove typed\n")
    called, _ = grow_gate(find_gate(str(trained_gate)), find_expert("new"), cases, "called", regions=4)
    typed = load_gate(find_gate("typed"), team.model).state_dict()
    assert all(torch.equal(typed[name], tensor) for name, tensor in called.gate.state_dict().items())
    assert main(["gates", "remove", "typed"]) == 0 and not (user_folder() / "typed").exists()


@pytest.mark.slow
def test_a_new_gate_needs_an_id_that_is_one_and_is_free(team, cases, trained_gate):
    gate, expert = find_gate(str(trained_gate)), add_expert(team.expert("new", seed=7))
    with pytest.raises(ConfigError, match=r"the new gate: id: .*'My Gate'"):
        grow_gate(gate, expert, cases, "My Gate")
    with pytest.raises(CardError, match=r"tiny-base: a card is there already\. .* another id: --to ID"):
        grow_gate(gate, expert, cases, "tiny-base")
    _, where = grow_gate(gate, expert, cases, "mine")
    assert find_gate("mine").folder == where
    with pytest.raises(CardError, match=r"mine: a card is there already"):
        grow_gate(gate, expert, cases, "mine")
    with pytest.raises(CardError, match=r"is the card of an? expert, not of a gate"):
        find_gate(str(expert.folder))


@pytest.mark.slow
def test_an_expert_is_left_out_and_the_other_columns_keep_every_bit(team, cases, trained_gate):
    gate = find_gate(str(trained_gate))
    grown = find_gate(str(grow_gate(gate, add_expert(team.expert("new", seed=7)), cases)[1]))
    kept = {path.name: path.read_bytes() for path in grown.folder.iterdir()}
    without = find_gate(str(shrink_gate(grown, "old")))
    assert without.card.id == f"{grown.card.id}-without-old" and without.folder.parent == user_folder()
    assert without.card.title == f"{grown.card.id} without old"
    assert [ref.id for ref in without.card.experts] == ["tiny-base", "new"]
    three, two = load_gate(grown, team.model), load_gate(without, team.model)
    seen = load_banks(without.folder / without.card.feature_bank.file)
    assert set(seen) == {"tiny-base", "new"}
    assert torch.equal(two(seen["new"]), three(seen["new"])[:, [0, 2]])
    assert {path.name: path.read_bytes() for path in grown.folder.iterdir()} == kept
    back = shrink_gate(grown, "new", "as-it-was")
    first = load_gate(gate, team.model).state_dict()
    again = load_gate(find_gate(str(back)), team.model).state_dict()
    assert first.keys() == again.keys() and all(torch.equal(first[n], again[n]) for n in first)
    load_mixture(find_gate("as-it-was"), team.folder.parent / "experts")


@pytest.mark.slow
def test_a_gate_that_always_asks_one_expert_gets_no_column(
    team, cases, trained_gate, offered_rule, monkeypatch, tmp_path
):
    gate, expert = find_gate(str(trained_gate)), add_expert(team.expert("new", seed=7))
    always = gate.card.model_copy(update={"selection": "forced", "forced": "old"})
    with pytest.raises(CardError, match=r"'forced' \(always old\) .* never be reached"):
        grow_gate(replace(gate, card=always), expert, cases)
    monkeypatch.syspath_prepend(offered_rule)
    always = gate.card.model_copy(update={"selection": "same", "threshold": None})
    with pytest.raises(CardError, match=r"'same' \(the general one\) .* never be reached"):
        grow_gate(replace(gate, card=always), expert, tmp_path / "not read")
    assert not (user_folder() / f"{gate.card.id}-new").exists()


@pytest.mark.slow
def test_only_what_a_gate_can_do_without_is_left_out(team, trained_gate):
    gate = find_gate(str(trained_gate))
    for name in ("spleen", "tiny-base"):
        with pytest.raises(
            CardError, match=rf"no column for '{name}' .* among old, and falls back on tiny-base"
        ):
            shrink_gate(gate, name)
    (user_folder() / "mine").mkdir(parents=True)
    (user_folder() / "mine" / "card.json").write_text("{}")
    with pytest.raises(CardError, match=r"mine: a card is there already\. .* --to ID"):
        shrink_gate(gate, "old", "mine")
    always = gate.card.model_copy(update={"selection": "forced", "forced": "old"})
    with pytest.raises(ConfigError, match="forced 'old' is not among the experts tiny-base"):
        shrink_gate(replace(gate, card=always), "old", "free")
    backed = {"selection": "threshold", "threshold": 0.4, "selection_settings": {"general": "old"}}
    with pytest.raises(ConfigError, match="general: 'old' is not among the experts"):
        shrink_gate(replace(gate, card=gate.card.model_copy(update=backed)), "old", "free")
    assert not (user_folder() / "free").exists()
    alone = shrink_gate(gate, "old", "alone")
    assert load_gate(find_gate(str(alone)), team.model).experts == 1


@pytest.mark.slow
def test_an_expert_that_ships_is_left_as_it_is_when_a_gate_grows_by_it(team, cases, trained_gate):
    shipped = team.folder / "new"
    shutil.copytree(team.expert("new", seed=7), shipped)
    before = {path.name: path.read_bytes() for path in shipped.iterdir()}
    grow_gate(find_gate(str(trained_gate)), find_expert("new"), cases)
    assert {path.name: path.read_bytes() for path in shipped.iterdir()} == before
