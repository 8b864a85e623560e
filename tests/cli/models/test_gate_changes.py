"""Gates by command: an expert and a gate that learns it come together; both can be taken out and put back."""

import pytest
import torch

from sam_moe.cli.models.gate_changes import Growth, grow
from sam_moe.errors import CardError
from sam_moe.registry.finding import DEFAULT_MODEL, find_backbone, find_gate, user_folder
from sam_moe.weights.files import read_state
from tests.systems.sam_med3d_moe.mixtures import write_expert, write_gate


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["add", "x.pth", "--gate", "moe"], "--gate and --examples go together"),
        (["add", "x.pth", "--examples", "cases"], "--gate and --examples go together"),
        (["add", "x.pth", "--to", "mine"], "--to names a new gate"),
        (["remove", "x", "--to", "mine"], "--to names a new gate"),
        (["remove", "x", "--gate", "moe", "--folder", "cards"], "--folder says where an expert is removed"),
    ],
)
def test_half_a_gate_is_a_wrong_command_line(sam_moe, words, complaint):
    ran = sam_moe("experts", *words)
    assert ran.code == 2
    assert complaint in ran.err


class Interrupted(str):
    """A gate's id at which Ctrl-C is pressed."""

    def __contains__(self, part):
        raise KeyboardInterrupt


def test_an_expert_is_taken_out_again_when_the_fitting_is_interrupted(tmp_path):
    undone = []
    with pytest.raises(KeyboardInterrupt):
        grow(None, Interrupted("moe"), Growth(tmp_path), lambda: undone.append(True))
    assert undone == [True]


def test_an_expert_whose_gate_is_not_found_is_taken_out_again(tmp_path):
    undone = []
    with pytest.raises(CardError, match="no model with id 'nowhere'"):
        grow(None, "nowhere", Growth(tmp_path), lambda: undone.append(True))
    assert undone == [True]


@pytest.fixture
def gate(cards):
    """A gate over two experts, all in the user's folder."""
    base = find_backbone(DEFAULT_MODEL)
    user_folder().mkdir(parents=True)
    experts = [write_expert(user_folder(), name, base, seed=n) for n, name in enumerate(("cord", "lung"))]
    return write_gate(user_folder(), "moe", base, experts)


@pytest.mark.parametrize(("id", "kind"), [("moe", "a gate"), (DEFAULT_MODEL, "a general model")])
def test_what_is_no_expert_is_shown_where_the_error_points(sam_moe, gate, id, kind):
    ran = sam_moe("experts", "show", id)
    assert ran.code == 1
    refusal, _, see = ran.remarks.strip().partition(" See: ")
    assert refusal == f"sam-moe: '{id}' is {kind}, no expert."
    shown = sam_moe(*see.removeprefix("sam-moe ").split())
    assert (shown.code, shown.out.partition(":")[0]) == (0, id)


def test_an_expert_that_was_here_stays_when_its_gate_fails(sam_moe, gate, tmp_path):
    before = {path: path.read_bytes() for path in user_folder().rglob("*") if path.is_file()}
    for source in ("cord", user_folder() / "cord"):
        ran = sam_moe("experts", "add", source, "--gate", "nowhere", "--examples", tmp_path)
        assert ran.code == 1 and "no model with id 'nowhere'" in ran.err
    assert {path: path.read_bytes() for path in user_folder().rglob("*") if path.is_file()} == before


def test_removing_an_expert_names_the_gates_that_use_it_and_what_to_do(sam_moe, gate):
    removed = sam_moe("experts", "remove", "cord")
    assert removed.code == 0
    warning, undo = removed.remarks.splitlines()
    assert warning.startswith(
        "sam-moe: warning: moe chooses among others cord, and cannot be loaded without it"
    )
    assert sam_moe("experts", *warning.partition("sam-moe experts ")[2].split()).code == 0
    assert [ref.id for ref in find_gate("moe-without-cord").card.experts] == [DEFAULT_MODEL, "lung"]
    assert sam_moe(*undo.removeprefix("Undo it: sam-moe ").split()).code == 0
    assert find_gate("moe") == gate


def test_an_expert_is_left_out_of_a_gate_and_its_columns_stay_to_the_bit(sam_moe, gate):
    ran = sam_moe("experts", "remove", "cord", "--gate", "moe", "--to", "rest")
    assert ran.code == 0
    assert ran.out == f"{user_folder()}/rest: a gate over 2 experts: {DEFAULT_MODEL}, lung\n"
    assert (user_folder() / "cord" / "card.json").is_file() and find_gate("moe") == gate
    before, after = (read_state(find_gate(id).folder / "model.safetensors") for id in ("moe", "rest"))
    assert torch.equal(after["columns.1.weight"], before["columns.2.weight"])
    assert torch.equal(after["columns.0.bias"], before["columns.0.bias"])
    assert ran.remarks == "Undo it: sam-moe experts remove rest\n"
    assert sam_moe("experts", "remove", "rest").code == 0
    assert not (user_folder() / "rest").exists()


def test_a_removed_gate_is_put_back_by_the_command_that_is_named(sam_moe, gate):
    removed = sam_moe("experts", "remove", "moe")
    assert removed.code == 0 and "moe: removed, kept in " in removed.out
    assert "moe" not in sam_moe("checkpoints", "list").out
    undo = removed.remarks.removeprefix("Undo it: sam-moe ").split()
    wrong = sam_moe(*undo, "--gate", "moe", "--examples", "x")
    assert wrong.code == 2 and "give it alone" in wrong.err
    assert sam_moe(*undo).code == 0
    assert find_gate("moe") == gate
