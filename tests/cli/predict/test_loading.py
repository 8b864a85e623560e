"""A model for a verb, with the checksum that the manifest names."""

import pytest

from sam_moe.cli.options import Computing, UsageError
from sam_moe.cli.predict.loading import (
    find_automatic,
    find_then,
    loaded,
    loaded_automatic,
    lowering_of,
    weights_sha256,
)
from sam_moe.errors import CardError, ConfigError
from sam_moe.files import sha256_of
from sam_moe.prompts.lowering import Lowering
from sam_moe.registry import write_card
from sam_moe.registry.finding import DEFAULT_MODEL, find_backbone
from tests.systems.m4oe.automatics import write_automatic


def test_without_an_id_the_one_that_ships_is_loaded_with_its_own_box_strategy(cards):
    found = loaded(None, Computing("cpu"))
    assert found.model.id == DEFAULT_MODEL
    assert found.model.box_strategy == "corners"
    assert found.weights_sha256 == sha256_of(cards / DEFAULT_MODEL / "model.safetensors")


def test_a_folder_names_a_model_too(cards):
    assert loaded(str(cards / DEFAULT_MODEL), Computing("cpu", "mask")).model.box_strategy == "mask"


def test_an_unknown_box_strategy_is_refused(cards):
    with pytest.raises(ConfigError, match="Known: "):
        loaded(None, Computing("cpu", "outline"))


def test_a_public_model_has_no_checksum_before_it_is_fetched(cards):
    entry = find_backbone(DEFAULT_MODEL)
    hub = {"repo_id": "someone/public", "filename": "public.pth", "sha256": "0" * 64}
    public = entry.card.model_validate(
        {**entry.card.model_dump(), "id": "public", "weights": None, "hub": hub}
    )
    (cards / "public").mkdir()
    write_card(public, cards / "public" / "card.json")
    assert weights_sha256(find_backbone("public")) is None


def test_rules_are_chosen_by_name_and_an_unknown_one_is_answered_with_the_known():
    assert lowering_of(["flat_box=deep", "stroke=five"]) == Lowering(flat_box="deep", stroke="five")
    assert lowering_of([]) == Lowering()
    with pytest.raises(UsageError, match="--lower flat_box=midle: flat_box: .*'middle'"):
        lowering_of(["flat_box=midle"])
    with pytest.raises(UsageError, match="flat_box"):
        lowering_of(["flatbox=middle"])


def test_the_model_that_answers_boxes_afterwards_is_loaded_beside_the_automatic_one(cards):
    entry = write_automatic(cards, id="auto")
    found = loaded_automatic(find_automatic("auto", None), "cpu", find_then(DEFAULT_MODEL))
    assert found.model.id == "auto" and found.then.model.id == DEFAULT_MODEL
    assert found.record().then == loaded(DEFAULT_MODEL, Computing("cpu")).record()
    assert found.record().weights_sha256 == entry.card.weights.sha256
    assert loaded_automatic(find_automatic("auto", None), "cpu").record().then is None
    with pytest.raises(CardError, match="takes no prompts"):
        find_then("auto")
