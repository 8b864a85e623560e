"""A public model is fetched and converted on first use, and needs no network afterwards."""

import hashlib
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from sam_moe.files import sha256_of
from sam_moe.hosts.sam3d.loading import load_model
from sam_moe.registry import write_card
from sam_moe.weights.checksums import fingerprint
from tests.weights.hub_server import ADDRESS, Hub

pytestmark = pytest.mark.slow  # each load is a process of its own: the client reads its settings on import

ROOT = Path(__file__).resolve().parents[4]
LOAD = """
import logging, sys
from sam_moe.registry.finding import find_backbone
from sam_moe.systems.sam_med3d_moe.cards.backbone import load_backbone
from sam_moe.errors import WeightsError
from sam_moe.weights.checksums import fingerprint
logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
try:
    print(fingerprint(load_backbone(find_backbone("public-small"))))
except WeightsError as error:
    sys.exit(f"refused: {error}")
"""


@pytest.fixture
def hub(checkpoint):
    hub = Hub(checkpoint.read_bytes())
    yield hub
    hub.close()


@pytest.fixture
def ship(shipped, public_card):
    """Ships a card that names the file with this checksum."""

    def write(sha256):
        folder = shipped / "public-small"
        folder.mkdir()
        write_card(public_card(sha256), folder / "card.json")

    return write


@pytest.fixture
def load(tmp_path, cache, hub):
    """Loads the public model in a process of its own."""

    def run(**settings):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        env = kept | hub.settings(tmp_path / "hf") | settings
        return subprocess.run(
            [sys.executable, "-c", LOAD], cwd=ROOT, env=env, capture_output=True, text=True, timeout=300
        )

    return run


def test_a_public_file_is_fetched_checked_converted_once_and_then_needs_no_network(
    ship, load, hub, checkpoint, cache
):
    ship(sha256_of(checkpoint))
    expected = fingerprint(load_model(checkpoint))
    first = load()
    assert first.returncode == 0, first.stderr
    assert first.stdout.strip() == expected
    assert f"fetching http://127.0.0.1:{hub.server.server_port}{ADDRESS}" in first.stderr
    assert "converting" in first.stderr
    assert ("GET", ADDRESS) in hub.asked
    made = sorted(path.name for path in (cache / "public-small").iterdir())
    assert made == ["card.json", "model.safetensors"]
    kept = json.loads((cache / "public-small" / "card.json").read_text())
    assert kept["licence"] == "Apache-2.0"
    assert kept["default_box_strategy"] == "center"
    hub.asked.clear()
    second = load()
    assert second.stdout.strip() == expected
    assert hub.asked == []
    hub.close()
    assert load(HF_HUB_OFFLINE="1").stdout.strip() == expected


def test_a_file_with_another_checksum_is_not_opened(ship, load, hub, tmp_path, cache):
    proof = tmp_path / "it-ran"
    hub.data = f"\x80\x02cos\nsystem\n(S'touch {proof}'\ntR.".encode("latin-1")
    ship("0" * 64)
    refused = load()
    assert refused.returncode == 1
    assert f"has SHA-256 {hashlib.sha256(hub.data).hexdigest()}, expected {'0' * 64}" in refused.stderr
    assert "It was not opened" in refused.stderr
    assert str(tmp_path / "hf") in refused.stderr
    assert not proof.exists()
    assert not cache.exists()
    assert load().returncode == 1  # nor is it taken from the hub's cache the next time
    pickle.loads(hub.data)  # the payload is no dud
    assert proof.exists()


def test_a_file_that_the_hub_does_not_have_is_told_with_its_address(ship, load, hub, checkpoint, cache):
    ship(sha256_of(checkpoint))
    hub.status = 404
    refused = load()
    assert refused.returncode == 1
    assert "refused: http://127.0.0.1" in refused.stderr
    assert f"{ADDRESS}: cannot be fetched (the hub has no such file: 404)" in refused.stderr
    assert not cache.exists()


def test_without_a_server_the_way_by_hand_is_told_and_works(ship, load, hub, checkpoint, cache):
    ship(sha256_of(checkpoint))
    hub.close()
    refused = load()
    assert refused.returncode == 1
    assert "cannot be fetched (" in refused.stderr
    assert "download it by hand on any machine and run `sam-moe convert small.pth` here" in refused.stderr
    by_hand = (
        "import sys; from sam_moe.systems.sam_med3d_moe.cards.convert import convert; convert(sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", by_hand, str(checkpoint)], cwd=ROOT, check=True)
    assert load().stdout.strip() == fingerprint(load_model(checkpoint))


def test_offline_mode_is_obeyed_and_explained(ship, load, hub, checkpoint):
    ship(sha256_of(checkpoint))
    refused = load(HF_HUB_OFFLINE="1")
    assert refused.returncode == 1
    assert "cannot be fetched (" in refused.stderr
    assert "sam-moe convert" in refused.stderr
    assert hub.asked == []


def test_another_model_under_that_id_in_the_users_folder_is_not_taken_for_it(
    ship, load, hub, checkpoint, tmp_path, random_state
):
    import torch

    from sam_moe.systems.sam_med3d_moe.cards.convert import convert

    ship(sha256_of(checkpoint))
    torch.save(random_state(), tmp_path / "other.pth")
    convert(tmp_path / "other.pth", model_id="public-small")
    script = LOAD.replace("WeightsError", "CardError")
    refused = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert "was not made from the file that" in refused.stderr
    assert hub.asked == []
