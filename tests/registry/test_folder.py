"""A folder of cards is listed by id and by kind; a bad card is an error, and none is skipped."""

from hashlib import sha256
from pathlib import Path

import pytest

from sam_moe import registry
from sam_moe.errors import CardError, WeightsError
from sam_moe.registry import Registry, Weights, check_weights

SHA = "0123456789abcdef" * 4


def test_entries_know_their_folder_and_their_weights(tmp_path, placed, card):
    placed(tmp_path, card())
    entry = Registry(tmp_path).get("small")
    assert entry.card.title == "A small backbone"
    assert entry.path == tmp_path / "small" / "card.json"
    assert entry.weights_path == tmp_path / "small" / "model.safetensors"


def test_a_card_of_a_public_file_needs_no_weights_beside_it(tmp_path, placed, card):
    data = card(hub={"repo_id": "owner/name", "filename": "a.pth", "sha256": SHA})
    del data["weights"]
    placed(tmp_path, data)
    assert Registry(tmp_path).get("small").weights_path is None


def test_cards_are_listed_by_id(tmp_path, placed, card):
    for name in ("b", "a", "c"):
        placed(tmp_path, card(id=name))
    (tmp_path / "README.md").write_text("not a card")
    assert [entry.card.id for entry in Registry(tmp_path).list()] == ["a", "b", "c"]


def test_an_unknown_id_is_told_the_known_ones_nearest_first(tmp_path, placed, card):
    for name in ("aaa", "tiny", "zebra"):
        placed(tmp_path, card(id=name))
    with pytest.raises(CardError, match=r"no card with id 'tniy'\. Known, nearest first: tiny, "):
        Registry(tmp_path).get("tniy")


def test_one_bad_card_is_not_skipped_when_another_is_asked_for(tmp_path, placed, card):
    placed(tmp_path, card())
    placed(tmp_path, card(id="other", format=7))
    with pytest.raises(CardError, match=r"other.card\.json: format: 7"):
        Registry(tmp_path).get("small")


def test_two_cards_with_one_id_are_both_named(tmp_path, placed, card):
    placed(tmp_path, card())
    placed(tmp_path, card(), folder="copy")
    with pytest.raises(CardError, match=r"'small' is already taken by .*copy.card\.json"):
        Registry(tmp_path).list()


def test_a_folder_must_be_called_what_its_card_says(tmp_path, placed, card):
    placed(tmp_path, card(), folder="renamed")
    with pytest.raises(CardError, match=r"id: 'small' is not its folder's name 'renamed'"):
        Registry(tmp_path).list()


def test_weights_that_link_out_of_the_folder_are_refused(tmp_path, placed, card):
    path = placed(tmp_path / "cards", card())
    (tmp_path / "secret").write_text("x")
    (path.parent / "model.safetensors").symlink_to(tmp_path / "secret")
    with pytest.raises(CardError, match=r"weights\.file: 'model\.safetensors' links out of the folder"):
        Registry(tmp_path / "cards").list()


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CardError, match=r"absent: no such folder"):
        Registry(tmp_path / "absent")


def test_the_environment_chooses_the_folder(tmp_path, monkeypatch, placed, card):
    placed(tmp_path, card())
    monkeypatch.setenv("SAM_MOE_CHECKPOINTS", str(tmp_path))
    assert [entry.card.id for entry in Registry().list()] == ["small"]
    monkeypatch.setenv("SAM_MOE_CHECKPOINTS", str(tmp_path / "absent"))
    with pytest.raises(CardError, match=r"SAM_MOE_CHECKPOINTS=.*absent: no such folder"):
        Registry()


def test_every_card_that_ships_is_good():
    shipped = Path(registry.__file__).parents[2] / "checkpoints"
    entries = Registry(shipped).list()
    folders = [p for p in shipped.iterdir() if p.is_dir()]
    # a recipe alone is of weights that are still to be trained
    kept = {p.name for p in folders if {f.name for f in p.iterdir()} - {"recipe.yaml"}}
    assert {entry.folder.name for entry in entries} == kept
    for entry in entries:
        if entry.card.weights is not None:
            assert entry.weights_path.stat().st_size == entry.card.weights.size_bytes


def test_each_kind_of_card_is_listed_by_itself(tmp_path, placed, card, expert_card, gate_card):
    for data in (card(), expert_card(), gate_card()):
        placed(tmp_path, data)
    folder = Registry(tmp_path)
    assert [entry.card.id for entry in folder.list()] == ["cord", "gate", "small"]
    kinds = (folder.backbones(), folder.experts(), folder.gates())
    assert [[entry.card.id for entry in kind] for kind in kinds] == [["small"], ["cord"], ["gate"]]


def test_what_is_being_written_or_was_removed_is_not_listed(tmp_path, placed, card, expert_card):
    placed(tmp_path, card())
    placed(tmp_path, expert_card(), folder=".incoming-1")
    placed(tmp_path / ".removed", expert_card())
    assert [entry.card.id for entry in Registry(tmp_path).list()] == ["small"]


def test_a_feature_bank_that_links_out_of_the_folder_is_refused(tmp_path, placed, expert_card):
    bank = expert_card()["weights"] | {"file": "bank.safetensors"}
    path = placed(tmp_path / "cards", expert_card(feature_bank=bank))
    (tmp_path / "secret").write_text("x")
    (path.parent / "bank.safetensors").symlink_to(tmp_path / "secret")
    with pytest.raises(CardError, match=r"feature_bank\.file: 'bank\.safetensors' links out of the folder"):
        Registry(tmp_path / "cards").list()


def loop(path):
    path.symlink_to(path.name)


def through_a_loop(path):
    loop(path.parent / "loop")
    path.symlink_to("loop")


@pytest.mark.parametrize("spoil", [loop, through_a_loop])
def test_a_link_that_leads_back_to_itself_is_named(tmp_path, placed, card, spoil):
    placed(tmp_path, card(id="sound"))
    path = placed(tmp_path, card())
    spoil(path.parent / "model.safetensors")
    with pytest.raises(CardError, match=r"small.card\.json: weights\.file: 'model\.safetensors'.*itself"):
        Registry(tmp_path).get("sound")


def test_a_name_with_nul_is_named(tmp_path, placed, card):
    placed(tmp_path, card(id="sound"))
    placed(tmp_path, card(weights=card()["weights"] | {"file": "a\0b"}))
    with pytest.raises(CardError, match=r"small.card\.json: weights\.file: .*not a plain name"):
        Registry(tmp_path).get("sound")


def test_a_card_that_is_a_loop_or_a_folder_is_named(tmp_path, placed, card):
    placed(tmp_path, card(id="sound"))
    (tmp_path / "looped").mkdir()
    loop(tmp_path / "looped" / "card.json")
    with pytest.raises(CardError, match=r"looped.card\.json: .*(itself|symbolic links)"):
        Registry(tmp_path).list()
    (tmp_path / "looped" / "card.json").unlink()
    (tmp_path / "looped" / "card.json").mkdir()
    with pytest.raises(CardError, match=r"looped.card\.json: .*(folder|directory)"):
        Registry(tmp_path).list()


def test_a_folder_that_leads_back_to_itself_is_no_card(tmp_path, placed, card):
    placed(tmp_path, card())
    loop(tmp_path / "looped")
    assert [entry.card.id for entry in Registry(tmp_path).list()] == ["small"]


def test_each_kind_is_listed_by_itself(tmp_path, placed, card, expert_card, gate_card, automatic_card):
    for data in (card(), expert_card(), gate_card(), automatic_card()):
        placed(tmp_path, data)
    found = Registry(tmp_path)
    lists = (found.backbones(), found.experts(), found.gates(), found.automatics())
    assert [[entry.card.id for entry in each] for each in lists] == [["small"], ["cord"], ["gate"], ["auto"]]
    assert found.automatics()[0].weights_path == tmp_path / "auto" / "model.safetensors"


def test_the_weights_of_an_automatic_model_lie_in_its_folder(tmp_path, placed, automatic_card):
    path = placed(tmp_path / "cards", automatic_card())
    (tmp_path / "elsewhere").write_text("weights")
    (path.parent / "model.safetensors").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CardError, match=r"weights\.file: 'model\.safetensors' links out of the folder"):
        Registry(tmp_path / "cards").automatics()


def test_a_file_of_weights_is_the_one_that_its_card_names_or_an_error(tmp_path):
    path, where = tmp_path / "model.safetensors", tmp_path / "card.json"
    path.write_bytes(b"weights")
    known = Weights(file=path.name, sha256=sha256(b"weights").hexdigest(), size_bytes=7, dtype="float32")
    check_weights(path, known, where)
    path.write_bytes(b"Weights")
    with pytest.raises(WeightsError, match=r"has SHA-256 [0-9a-f]{64}, the card says .*restore it"):
        check_weights(path, known, where)
    path.write_bytes(b"more weights")
    with pytest.raises(WeightsError, match="has 12 bytes, the card says 7"):
        check_weights(path, known, where)
    path.unlink()
    with pytest.raises(WeightsError, match=r"no such file, though .*card\.json names it"):
        check_weights(path, known, where)
