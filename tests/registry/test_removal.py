"""What is taken out of a folder of cards lies aside, and comes back as it was."""

import pytest

from sam_moe.errors import CardError
from sam_moe.registry.finding import find_backbone, gates_over, holder_of, user_folder
from sam_moe.registry.removal import REMOVED, remove_card, restore_gate, was_removed
from tests.systems.sam_med3d_moe.mixtures import write_expert, write_gate

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def mine():
    """An expert and a gate over it in the user's folder."""
    base = find_backbone("tiny")
    user_folder().mkdir(parents=True)
    expert = write_expert(user_folder(), "cord", base)
    return expert, write_gate(user_folder(), "moe", base, [expert])


@pytest.fixture
def gate():
    """A gate over one expert in the user's folder."""
    base = find_backbone("tiny")
    user_folder().mkdir(parents=True)
    return write_gate(user_folder(), "moe", base, [write_expert(user_folder(), "cord", base)])


def test_a_gate_is_taken_out_alone_and_an_expert_too(mine):
    aside = remove_card("moe")
    assert aside == user_folder() / REMOVED / f"moe-{mine[1].card.weights.sha256[:8]}"
    assert was_removed(aside, user_folder()) and not mine[1].path.exists() and mine[0].path.exists()
    remove_card("cord")
    assert holder_of("cord", user_folder()) is None


def test_only_these_kinds_are_taken_out(mine):
    with pytest.raises(CardError, match=r"no expert with id 'moe'\. Known, nearest first: cord"):
        remove_card("moe", kinds=("expert",))
    with pytest.raises(
        CardError, match=r"no expert or gate with id 'kord'\. Known, nearest first: cord, moe"
    ):
        remove_card("kord")


def test_a_model_is_no_expert_and_goes_with_its_folder(mine, placed, automatic_card):
    path = placed(user_folder(), automatic_card())
    with pytest.raises(CardError) as caught:
        remove_card("auto")
    assert str(caught.value) == (
        f"{path}: 'auto' is an automatic model, no expert or gate. To remove it, delete its folder "
        f"{path.parent}."
    )
    assert path.exists()


def test_what_ships_is_not_taken_out_and_says_so(mine, tmp_path, monkeypatch):
    tiny = find_backbone("tiny")
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards" / "tiny").symlink_to(tiny.folder)
    shipped = write_expert(tmp_path / "cards", "lung", tiny)
    monkeypatch.setenv("SAM_MOE_CHECKPOINTS", str(tmp_path / "cards"))
    with pytest.raises(CardError, match=r"'tiny' ships with sam-moe and is never changed.* is removed\.$"):
        remove_card("tiny")
    with pytest.raises(CardError, match=r"'lung' ships .*sam-moe experts remove lung --gate GATE$"):
        remove_card("lung")
    assert shipped.path.exists() and (tmp_path / "cards" / "tiny").exists()


def test_a_removed_gate_comes_back_as_it_was_unless_its_id_was_taken(gate):
    before = {path.name: path.read_bytes() for path in gate.folder.iterdir()}
    aside = remove_card("moe")
    assert gates_over("cord") == ()
    assert restore_gate(aside) == gate and not aside.exists()
    assert {path.name: path.read_bytes() for path in gate.folder.iterdir()} == before
    aside = remove_card("moe")
    write_gate(user_folder(), "moe", find_backbone("tiny"), [])
    with pytest.raises(CardError, match=r"'moe' is taken by .* since\. First remove that"):
        restore_gate(aside)


def test_a_gate_that_was_not_removed_from_here_is_not_put_there(gate, tmp_path):
    with pytest.raises(CardError, match=r"not among what was removed from .*--model"):
        restore_gate(gate.folder, tmp_path)
