"""The models that are here, with where their weights are."""

import json

import torch

from sam_moe.cli.models.model_list import find, listed
from sam_moe.files import sha256_of
from sam_moe.registry import Registry, write_card
from sam_moe.registry.finding import DEFAULT_MODEL, user_folder
from sam_moe.systems.sam_med3d_moe.cards.convert import convert
from sam_moe.weights.files import read_state
from tests.systems.m4oe.automatics import write_automatic


def add_public(cards, sha256="0" * 64):
    """A card of a public file, not fetched."""
    card = Registry(cards).get(DEFAULT_MODEL).card
    hub = {"repo_id": "someone/public", "filename": "public.pth", "sha256": sha256}
    public = card.model_validate({**card.model_dump(), "id": "public", "weights": None, "hub": hub})
    (cards / "public").mkdir()
    write_card(public, cards / "public" / "card.json")


def test_the_list_has_one_line_a_model_in_columns(sam_moe, cards):
    add_public(cards)
    lines = sam_moe("checkpoints", "list").out.splitlines()
    assert lines[0].split() == ["ID", "WEIGHTS", "SIZE", "LICENCE", "VERB", "TITLE"]
    size = (cards / DEFAULT_MODEL / "model.safetensors").stat().st_size / 1e6
    assert [line.split()[0] for line in lines[1:]] == ["public", DEFAULT_MODEL]
    assert "not yet fetched  -" in lines[1]
    assert f"shipped          {size:.1f} MB  Apache-2.0  predict  A small random model" in lines[2]


def test_without_a_verb_the_models_are_listed(sam_moe, cards):
    assert sam_moe("checkpoints").out == sam_moe("checkpoints", "list").out


def test_the_list_for_machines_says_the_same(sam_moe, cards):
    (line,) = json.loads(sam_moe("checkpoints", "list", "--json").out)
    assert (line["id"], line["state"], line["licence"]) == (DEFAULT_MODEL, "shipped", "Apache-2.0")
    assert (line["kind"], line["verb"]) == ("backbone", "predict")
    assert line["size_bytes"] == (cards / DEFAULT_MODEL / "model.safetensors").stat().st_size


def test_a_public_file_counts_as_fetched_once_it_lies_converted_in_the_users_folder(cards, tmp_path):
    torch.save(read_state(cards / DEFAULT_MODEL / "model.safetensors"), tmp_path / "public.pth")
    add_public(cards, sha256_of(tmp_path / "public.pth"))
    assert find("public").state == "not yet fetched"
    assert not find("public").complete
    convert(tmp_path / "public.pth")
    assert find("public").state == "fetched"
    assert find("public").complete
    assert [item.entry.card.id for item in listed()] == ["public", DEFAULT_MODEL]


def test_a_model_of_the_users_own_is_listed_as_converted(cards, tmp_path):
    convert(cards / DEFAULT_MODEL / "model.safetensors", model_id="mine")
    states = {item.entry.card.id: item.state for item in listed()}
    assert states == {DEFAULT_MODEL: "shipped", "mine": "converted"}
    assert find("mine").entry.folder == user_folder() / "mine"


def test_weights_that_are_gone_or_changed_are_not_complete(cards):
    weights = cards / DEFAULT_MODEL / "model.safetensors"
    assert find(DEFAULT_MODEL).complete
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert not find(DEFAULT_MODEL).complete
    weights.unlink()
    assert find(DEFAULT_MODEL).state == "weights missing"
    assert not find(DEFAULT_MODEL).complete


def test_an_unknown_id_is_answered_with_the_known_ones(sam_moe, cards):
    ran = sam_moe("checkpoints", "show", DEFAULT_MODEL + "x")
    assert ran.code == 1
    assert f"Known, nearest first: {DEFAULT_MODEL} (a general model)." in ran.err


def test_an_automatic_model_is_listed_with_the_verb_that_it_answers(sam_moe, cards):
    write_automatic(cards)
    lines = sam_moe("checkpoints", "list").out.splitlines()
    assert " ".join(lines[2].split()) == "auto shipped 0.0 MB CC-BY-SA-4.0 segment Neck and brain"
    found = {line["id"]: line for line in json.loads(sam_moe("checkpoints", "list", "--json").out)}
    assert found["auto"]["kind"] == "automatic" and found["auto"]["verb"] == "segment"
    assert found["auto"]["size_bytes"] == (cards / "auto" / "model.safetensors").stat().st_size


def test_an_automatic_model_of_the_users_own_is_complete_while_its_weights_are_whole(cards):
    entry = write_automatic(user_folder())
    assert find("auto").state == "your own" and find("auto").complete
    assert find("auto").licence == "CC-BY-SA-4.0"
    entry.weights_path.write_bytes(entry.weights_path.read_bytes()[:-1])
    assert not find("auto").complete
    entry.weights_path.unlink()
    assert find("auto").state == "weights missing"
