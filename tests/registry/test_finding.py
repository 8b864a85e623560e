"""Cards are found where ids are looked up, and a gate tells whom it chooses among."""

import pytest

from sam_moe.errors import CardError
from sam_moe.registry import AutomaticCard, default_folder
from sam_moe.registry.finding import (
    DEFAULT_AUTOMATIC,
    PROMPTABLE,
    as_automatic,
    as_promptable,
    card_folders,
    find_backbone,
    find_expert,
    find_gate,
    find_model,
    gates_over,
    holder_of,
    list_automatics,
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


@pytest.fixture
def auto(placed, automatic_card):
    """An automatic model in the user's folder."""
    placed(user_folder(), automatic_card())
    return find_model("auto")


def test_an_automatic_model_is_found_by_id_card_and_folder(auto):
    assert auto == find_model(auto.path) == find_model(str(auto.folder))
    assert auto in list_automatics()
    assert as_automatic(auto) == auto and type(auto.card) is AutomaticCard


def test_where_it_is_of_no_use_an_automatic_model_names_what_it_is_for(auto):
    with pytest.raises(CardError) as caught:
        as_promptable(auto)
    assert str(caught.value) == (
        f"{auto.path}: 'auto' is an automatic model, which takes no prompts. Use it: sam-moe segment "
        "SCAN --model auto --out LABELS; or give a model that answers prompts, such as 'small'."
    )
    with pytest.raises(
        CardError, match=r"'auto' is an automatic model, no general model\. Give one, such as 's"
    ):
        find_backbone("auto")
    with pytest.raises(CardError, match="'auto' is an automatic model, no expert"):
        find_expert("auto")
    with pytest.raises(CardError, match="is the card of an automatic model, not of a gate"):
        find_gate("auto")


@pytest.mark.parametrize(
    ("id", "kind"), [("tiny", "a general model"), ("cord", "an expert"), ("moe", "a gate")]
)
def test_what_answers_prompts_is_no_automatic_model_and_names_its_verb(mine, id, kind):
    entry = find_model(id)
    assert as_promptable(entry) == entry
    with pytest.raises(CardError) as caught:
        as_automatic(entry)
    assert str(caught.value) == (
        f"{entry.path}: {id!r} is {kind}, which answers prompts alone. Use it: sam-moe predict SCAN --point "
        f"I J K --model {id} --out MASK; or give an automatic model, such as {DEFAULT_AUTOMATIC!r}."
    )


def test_a_model_that_no_id_finds_is_named_by_its_folder(tmp_path, placed, automatic_card):
    folder = placed(tmp_path / "runs", automatic_card()).parent
    with pytest.raises(CardError, match=rf"sam-moe segment SCAN --model {folder} --out"):
        as_promptable(find_model(folder))


def test_an_unknown_id_is_answered_with_ids_of_the_kinds_that_are_wanted(auto):
    with pytest.raises(CardError, match=r"no model with id 'autos'.* first: auto \(an automatic model\), "):
        find_model("autos")
    with pytest.raises(CardError, match=r"no model with id 'autos'") as caught:
        find_model("autos", wanted=PROMPTABLE)
    assert "auto (" not in str(caught.value) and "tiny (a general model)" in str(caught.value)
    with pytest.raises(CardError, match=r"Known, nearest first: auto\.$"):
        find_model("autos", user_folder(), wanted=(AutomaticCard,))
