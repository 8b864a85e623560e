"""From an id to a model: found by name, checked against its card, explained when it is not there."""

import dataclasses
import os
from pathlib import Path

import pytest
import torch

from sam_moe.errors import CardError, ConfigError, WeightsError
from sam_moe.hosts.sam3d.loading import load_model
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.processes import choose_device
from sam_moe.registry import Registry
from sam_moe.registry.finding import find_backbone
from sam_moe.systems.sam_med3d_moe.cards.backbone import load_backbone
from sam_moe.systems.sam_med3d_moe.cards.convert import convert
from sam_moe.weights.checksums import fingerprint

pytestmark = pytest.mark.usefixtures("shipped", "cache")

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def entry(shipped, checkpoint):
    convert(checkpoint, shipped, "small")
    return Registry(shipped).get("small")


def test_the_public_models_card_describes_the_public_model():
    card = Registry(ROOT / "checkpoints").get("sam-med3d-turbo").card
    assert card.architecture == Sizes()
    assert card.preprocessing.spacing_mm == 1.5
    assert card.hub.repo_id == "blueyo0/SAM-Med3D"
    assert card.hub.sha256 == "899a46d04d3b70f723282ceb489149373558bf0aaba389a346f5ab57da5cdd3c"
    assert card.licence == "Apache-2.0"


def test_a_model_is_found_by_id_by_its_card_and_by_its_folder(entry, shipped, checkpoint):
    expected = fingerprint(load_model(checkpoint))
    for name in ("small", entry.path, str(entry.path), entry.folder, str(entry.folder)):
        assert fingerprint(load_backbone(find_backbone(name))) == expected
    assert find_backbone("small", shipped) == entry


def test_a_converted_model_is_found_in_the_users_folder_and_a_shipped_one_comes_first(entry, checkpoint):
    convert(checkpoint, model_id="mine")
    convert(checkpoint, model_id="small")
    assert find_backbone("mine").folder.parent.parent.name == "cache"
    assert find_backbone("small") == entry


def test_an_unknown_id_lists_the_known_ones_nearest_first(entry, checkpoint):
    convert(checkpoint, model_id="zebra")
    with pytest.raises(CardError, match=r"no model with id 'smal' .*nearest first: small, zebra\."):
        find_backbone("smal")
    with pytest.raises(CardError, match=r"nearest first: zebra, small\."):
        find_backbone("zebr")


def test_a_checkpoint_in_the_place_of_a_card_is_told_how_to_become_one(checkpoint):
    for path in (checkpoint, str(checkpoint), "x.safetensors"):
        with pytest.raises(CardError, match=r"is not a card.*sam-moe convert"):
            find_backbone(path)


def test_a_folder_without_a_card_is_told_from_a_folder_of_cards(entry, shipped):
    with pytest.raises(CardError, match=r"has no card\.json.*an id and folder="):
        find_backbone(shipped)


def test_weights_that_changed_are_refused_even_after_they_were_once_good(entry):
    load_backbone(entry)
    path = entry.weights_path
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(0, 0))
    with pytest.raises(WeightsError, match=r"has SHA-256 .* the card says .*restore it"):
        load_backbone(entry)
    path.write_bytes(data + b"\0")
    with pytest.raises(WeightsError, match=rf"has {len(data) + 1} bytes, the card says {len(data)}"):
        load_backbone(entry)
    path.unlink()
    with pytest.raises(WeightsError, match=r"no such file, though .* names it"):
        load_backbone(entry)


def test_weights_of_another_size_than_the_card_says_are_refused_with_the_report(entry):
    other = dataclasses.replace(entry.card.architecture, decoder_mlp_dim=32)
    wrong = dataclasses.replace(entry, card=entry.card.model_copy(update={"architecture": other}))
    with pytest.raises(WeightsError, match="is 16×48 float32, expected 32×48 float32"):
        load_backbone(wrong)


def test_a_device_that_is_not_there_is_named():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("gpu", "cuda:99"):
        with pytest.raises(ConfigError, match=f"device '{name}' cannot be used .*Use 'auto' or 'cpu'"):
            choose_device(name)
