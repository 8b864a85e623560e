"""Cards are found where ids are looked up, and what is taken out of a folder lies aside."""

import pytest

from sam_moe.assemble import find_entry
from sam_moe.assemble.convert import user_folder
from sam_moe.assemble.keeping import REMOVED, card_folders, holder_of, take_out, was_removed
from sam_moe.errors import CardError
from sam_moe.registry import default_folder
from tests.assemble.mixtures import write_expert, write_gate

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def mine():
    """An expert and a gate over it in the user's folder."""
    base = find_entry("tiny")
    user_folder().mkdir(parents=True)
    expert = write_expert(user_folder(), "cord", base)
    return expert, write_gate(user_folder(), "moe", base, [expert])


def test_ids_are_looked_up_among_what_ships_and_then_in_the_users_folder(mine, tmp_path):
    assert card_folders() == [default_folder(), user_folder()]
    assert holder_of("cord", tmp_path / "nowhere").path == mine[0].path
    assert holder_of("tiny", user_folder()).folder.parent == default_folder()
    assert holder_of("no-such-id", user_folder()) is None


def test_a_gate_is_taken_out_alone_and_an_expert_too(mine):
    aside = take_out("moe")
    assert aside == user_folder() / REMOVED / f"moe-{mine[1].card.weights.sha256[:8]}"
    assert was_removed(aside, user_folder()) and not mine[1].path.exists() and mine[0].path.exists()
    take_out("cord")
    assert holder_of("cord", user_folder()) is None


def test_only_these_kinds_are_taken_out(mine):
    with pytest.raises(CardError, match=r"no expert with id 'moe'\. Known, nearest first: cord"):
        take_out("moe", kinds=("expert",))
    with pytest.raises(
        CardError, match=r"no expert or gate with id 'kord'\. Known, nearest first: cord, moe"
    ):
        take_out("kord")


def test_what_ships_is_not_taken_out_and_says_so(mine, tmp_path, monkeypatch):
    tiny = find_entry("tiny")
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards" / "tiny").symlink_to(tiny.folder)
    shipped = write_expert(tmp_path / "cards", "lung", tiny)
    monkeypatch.setenv("SAM_MOE_CHECKPOINTS", str(tmp_path / "cards"))
    with pytest.raises(CardError, match=r"'tiny' ships with sam-moe and is never changed.* is removed\.$"):
        take_out("tiny")
    with pytest.raises(CardError, match=r"'lung' ships .*sam-moe experts remove lung --gate GATE$"):
        take_out("lung")
    assert shipped.path.exists() and (tmp_path / "cards" / "tiny").exists()
