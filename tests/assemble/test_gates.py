"""Gates are found, tell whom they choose among, and come back as they were."""

import pytest

from sam_moe.assemble import find_entry
from sam_moe.assemble.convert import user_folder
from sam_moe.assemble.gates import find_gate, gates_over, list_gates, restore_gate
from sam_moe.assemble.keeping import take_out
from sam_moe.errors import CardError
from tests.assemble.mixtures import write_expert, write_gate

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def gate():
    """A gate over one expert in the user's folder."""
    base = find_entry("tiny")
    user_folder().mkdir(parents=True)
    return write_gate(user_folder(), "moe", base, [write_expert(user_folder(), "cord", base)])


def test_gates_are_listed_and_found_and_other_cards_are_none(gate):
    ids = [entry.card.id for entry in list_gates()]
    assert "moe" in ids and "cord" not in ids and "tiny" not in ids
    assert find_gate("moe") == find_gate(gate.folder) == gate
    with pytest.raises(CardError, match="is the card of an expert, not of a gate"):
        find_gate("cord")


def test_an_expert_has_gates_that_choose_it_the_base_none(gate):
    assert gates_over("cord") == ("moe",) and gates_over("tiny") == gates_over("moe") == ()


def test_a_removed_gate_comes_back_as_it_was_unless_its_id_was_taken(gate):
    before = {path.name: path.read_bytes() for path in gate.folder.iterdir()}
    aside = take_out("moe")
    assert gates_over("cord") == ()
    assert restore_gate(aside) == gate and not aside.exists()
    assert {path.name: path.read_bytes() for path in gate.folder.iterdir()} == before
    aside = take_out("moe")
    write_gate(user_folder(), "moe", find_entry("tiny"), [])
    with pytest.raises(CardError, match=r"'moe' is taken by .* since\. First remove that"):
        restore_gate(aside)


def test_a_gate_that_was_not_removed_from_here_is_not_put_there(gate, tmp_path):
    with pytest.raises(CardError, match=r"not among what was removed from .*--model"):
        restore_gate(gate.folder, tmp_path)
