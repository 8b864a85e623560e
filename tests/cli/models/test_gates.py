"""`sam-moe gates`: gates listed, shown, taken out, put back and changed in one place."""

import json

import pytest

from sam_moe.registry import read_card
from sam_moe.registry.finding import DEFAULT_MODEL, find_backbone, find_gate, user_folder
from tests.systems.sam_med3d_moe.mixtures import write_expert, write_gate


@pytest.fixture
def gate(cards):
    """A gate over two experts, all in the user's folder."""
    base = find_backbone(DEFAULT_MODEL)
    user_folder().mkdir(parents=True)
    experts = [write_expert(user_folder(), name, base, seed=n) for n, name in enumerate(("cord", "lung"))]
    return write_gate(user_folder(), "moe", base, experts)


def test_the_list_has_a_line_for_each_gate_with_its_experts_and_none_for_models(sam_moe, gate):
    head, *lines = sam_moe("gates").out.splitlines()
    assert head.split() == ["ID", "WEIGHTS", "LICENCE", "CHOOSES", "BY", "EXPERTS"]
    assert [line.split()[0] for line in lines] == ["moe"]
    assert lines[0].endswith(f"{DEFAULT_MODEL}, cord, lung") and "your own" in lines[0]
    (line,) = json.loads(sam_moe("gates", "list", "--json").out)
    assert (line["id"], line["experts"]) == ("moe", [DEFAULT_MODEL, "cord", "lung"])
    assert line["selection"] == find_gate("moe").card.selection


def test_without_a_gate_the_list_is_its_head(sam_moe, cards):
    ran = sam_moe("gates", "list")
    assert (ran.code, ran.out.count("\n"), ran.remarks) == (0, 1, "")


def test_a_gate_is_shown_as_among_the_models(sam_moe, gate, tmp_path):
    page = sam_moe("gates", "show", "moe")
    assert (page.code, page.out) == (0, sam_moe("checkpoints", "show", "moe").out)
    assert sam_moe("gates", "show", user_folder() / "moe").out == page.out
    (tmp_path / "copy.json").write_text(sam_moe("gates", "show", "moe", "--json").out)
    assert read_card(tmp_path / "copy.json") == gate.card


@pytest.mark.parametrize(
    ("id", "complaint"), [(DEFAULT_MODEL, "ships with sam-moe"), ("cord", "has no gate with id 'cord'")]
)
def test_what_is_no_gate_is_refused(sam_moe, gate, id, complaint):
    shown, removed = sam_moe("gates", "show", id), sam_moe("gates", "remove", id)
    assert (shown.code, removed.code) == (1, 1)
    assert id in shown.err and complaint in removed.err
    assert (user_folder() / "cord" / "card.json").is_file()


def test_a_removed_gate_is_put_back_by_the_command_that_is_named(sam_moe, gate):
    removed = sam_moe("gates", "remove", "moe")
    assert removed.code == 0 and "moe" not in sam_moe("gates", "list").out
    undo = removed.remarks.removeprefix("Undo it: sam-moe ").split()
    assert undo[:2] == ["gates", "add"]
    assert sam_moe(*undo).code == 0
    assert find_gate("moe") == gate


def test_adding_something_else_than_a_gate_is_a_wrong_command_line(sam_moe, gate, tmp_path):
    for source in (user_folder() / "cord", tmp_path / "nowhere"):
        ran = sam_moe("gates", "add", source)
        assert (ran.code, "holds no card of a gate" in ran.err) == (2, True)


def test_an_expert_is_left_out_under_both_names_of_the_command(sam_moe, gate):
    ran = sam_moe("gates", "remove-expert", "moe", "cord", "--to", "rest")
    assert (ran.code, ran.remarks) == (0, "Undo it: sam-moe gates remove rest\n")
    assert sam_moe("experts", "remove", "cord", "--gate", "moe", "--to", "other").code == 0
    rest, other = find_gate("rest").card, find_gate("other").card
    assert rest.experts == other.experts and rest.weights.sha256 == other.weights.sha256
    assert sam_moe("gates", "remove", "rest").code == 0 and not (user_folder() / "rest").exists()


def test_a_gate_that_has_the_expert_gets_no_second_column(sam_moe, gate, tmp_path):
    ran = sam_moe("gates", "add-expert", "moe", "cord", "--examples", tmp_path)
    assert ran.code == 1 and "cord" in ran.err
    unknown = sam_moe("gates", "add-expert", "moe", "nowhere", "--examples", tmp_path)
    assert unknown.code == 1 and "nowhere" in unknown.err
    assert find_gate("moe") == gate
