"""A model for a verb, with the checksum that the manifest names."""

import pytest

from sam_moe.cli.predict.loading import loaded, weights_sha256
from sam_moe.errors import ConfigError
from sam_moe.files import sha256_of
from sam_moe.registry import write_card
from sam_moe.registry.finding import DEFAULT_MODEL, find_entry


def test_without_an_id_the_one_that_ships_is_loaded_with_its_own_box_strategy(cards):
    found = loaded(None, "cpu", None)
    assert found.model.id == DEFAULT_MODEL
    assert found.model.box_strategy == "corners"
    assert found.weights_sha256 == sha256_of(cards / DEFAULT_MODEL / "model.safetensors")


def test_a_folder_names_a_model_too(cards):
    assert loaded(str(cards / DEFAULT_MODEL), "cpu", "mask").model.box_strategy == "mask"


def test_an_unknown_box_strategy_is_refused(cards):
    with pytest.raises(ConfigError, match="Known: "):
        loaded(None, "cpu", "outline")


def test_a_public_model_has_no_checksum_before_it_is_fetched(cards):
    entry = find_entry(DEFAULT_MODEL)
    hub = {"repo_id": "someone/public", "filename": "public.pth", "sha256": "0" * 64}
    public = entry.card.model_validate(
        {**entry.card.model_dump(), "id": "public", "weights": None, "hub": hub}
    )
    (cards / "public").mkdir()
    write_card(public, cards / "public" / "card.json")
    assert weights_sha256(find_entry("public")) is None
