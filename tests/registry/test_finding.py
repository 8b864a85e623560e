"""Cards are found where ids are looked up, and a gate tells whom it chooses among."""

import pytest

from sam_moe.errors import CardError
from sam_moe.registry import default_folder
from sam_moe.registry.finding import (
    card_folders,
    find_backbone,
    find_gate,
    gates_over,
    holder_of,
    list_gates,
    user_folder,
)
from tests.systems.sam_med3d_moe.mixtures import write_expert, write_gate

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def mine():
    """An expert and a gate over it in the user's folder."""
    base = find_backbone("tiny")
    user_folder().mkdir(parents=True)
    expert = write_expert(user_folder(), "cord", base)
    return expert, write_gate(user_folder(), "moe", base, [expert])


def test_ids_are_looked_up_among_what_ships_and_then_in_the_users_folder(mine, tmp_path):
    assert card_folders() == [default_folder(), user_folder()]
    assert holder_of("cord", tmp_path / "nowhere").path == mine[0].path
    assert holder_of("tiny", user_folder()).folder.parent == default_folder()
    assert holder_of("no-such-id", user_folder()) is None


def test_gates_are_listed_and_found_and_other_cards_are_none(mine):
    ids = [entry.card.id for entry in list_gates()]
    assert "moe" in ids and "cord" not in ids and "tiny" not in ids
    assert find_gate("moe") == find_gate(mine[1].folder) == mine[1]
    with pytest.raises(CardError, match="is the card of an expert, not of a gate"):
        find_gate("cord")


def test_an_expert_has_gates_that_choose_it_the_base_none(mine):
    assert gates_over("cord") == ("moe",) and gates_over("tiny") == gates_over("moe") == ()


def test_for_a_folder_that_is_here_its_path_is_advised(mine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_gate(tmp_path, "other", find_backbone("tiny"), [mine[0]])
    with pytest.raises(CardError, match=r"no model with id 'other'.*is here, give \./other\."):
        find_gate("other")
    assert find_gate("./other").card.id == "other"
