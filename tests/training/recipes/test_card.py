"""What a training made is shipped with a card that says what it is worth and how it was made."""

import hashlib

import pytest
import torch

from sam_moe.errors import ConfigError, FileError
from sam_moe.files import PREFIX, sha256_of
from sam_moe.hosts.sam3d.loading import load_model
from sam_moe.registry import MadeBy, Preprocessing, read_card
from sam_moe.systems.sam_med3d_moe.pretrain.learner import fresh_model
from sam_moe.training.engine.best import Kept
from sam_moe.training.recipes.card import Provenance, measurements, save_named, ship
from sam_moe.training.recipes.settings import CardRecipe
from sam_moe.weights.files import read_state
from tests.files.dying import deaths

WORDS = CardRecipe.model_validate(
    {
        "id": "small",
        "title": "A small one",
        "licence": "Apache-2.0",
        "attribution": [{"source": "Someone", "licence": "MIT"}],
        "not_for": "Anything.",
        "default_box_strategy": "corners",
    }
)
FIGURES = {"click1": 0.5, "mask3": 0.75, "score": 0.625}


@pytest.fixture
def shipped(sizes, tmp_path):
    def make(store, kept=None):
        kept = kept or Kept(fresh_model(sizes, 0).state_dict(), 40, FIGURES)
        architecture = sizes
        preprocessing = Preprocessing(region_voxels=16, spacing_mm=1.5, normalisation="mean")
        made_by = MadeBy(command="make it", seeds=(0,), hours=0.5, hardware="1 x abacus", data=("balls",))
        return kept, ship(
            kept, tmp_path, WORDS, architecture, preprocessing, Provenance(made_by, "4 regions"), store
        )

    return make


@pytest.mark.parametrize(("store", "dtype"), [("float16", torch.float16), ("float32", torch.float32)])
def test_the_card_describes_the_file_beside_it(shipped, sizes, tmp_path, store, dtype):
    kept, path = shipped(store)
    card = read_card(tmp_path / "card.json")
    assert (card.weights.file, card.weights.dtype) == (path.name, store)
    assert card.weights.size_bytes == path.stat().st_size
    assert card.weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert {tensor.dtype for tensor in read_state(path).values()} == {dtype}
    loaded = load_model(path, sizes).state_dict()
    assert all(torch.equal(loaded[name], tensor.to(dtype).float()) for name, tensor in kept.weights.items())


def test_the_card_says_what_the_recipe_and_the_run_say(shipped, tmp_path):
    shipped("float16")
    card = read_card(tmp_path / "card.json")
    assert (card.id, card.title, card.licence, card.not_for) == (
        "small",
        "A small one",
        "Apache-2.0",
        "Anything.",
    )
    assert card.attribution[0].source == "Someone" and card.default_box_strategy == "corners"
    assert card.made_by.command == "make it" and card.made_by.hours == 0.5
    assert card.architecture.embed_dim == 24 and card.preprocessing.spacing_mm == 1.5
    assert [m.value for m in card.measured] == [0.5, 0.75, 0.625]


def test_figures_say_how_was_asked_and_at_which_step():
    click, mask, score = measurements(Kept({}, 40, FIGURES), "4 regions")
    assert click.protocol == "step 40; asked by a click; mean over regions"
    assert (
        mask.protocol
        == "step 40; asked by a box drawn as a mask, then 2 correcting clicks; mean over regions"
    )
    assert "decided the step" in score.protocol
    assert {(m.metric, m.data) for m in (click, mask, score)} == {("Dice", "4 regions")}


def test_a_run_without_validation_claims_nothing():
    assert measurements(Kept({}, 40, {}), "nothing") == ()


def test_weights_too_large_for_half_precision_are_not_shipped(shipped, sizes, tmp_path):
    weights = fresh_model(sizes, 0).state_dict()
    weights["image_encoder.pos_embed"][0, 0, 0, 0, 0] = 70_000
    with pytest.raises(ConfigError, match=r"image_encoder\.pos_embed does not fit into float16.*float32"):
        shipped("float16", Kept(weights, 1, {}))
    assert not (tmp_path / "card.json").exists()


def test_a_card_that_names_other_weights_is_withdrawn_before_they_are_replaced(tmp_path):
    path, card = tmp_path / "model.safetensors", tmp_path / "card.json"

    def begin():
        for old in (path, card):
            old.unlink(missing_ok=True)
        save_named({"a": torch.zeros(3)}, path)
        card.write_text("names zeros")

    begin()
    zeros = sha256_of(path)
    save_named({"a": torch.zeros(3)}, path)
    assert card.is_file()
    for _ in deaths(tmp_path, lambda: save_named({"a": torch.ones(3)}, path), begin):
        assert sha256_of(path) == zeros or not card.exists()


def test_on_a_full_disk_weights_and_card_stay(small_disk):
    path, card = small_disk / "model.safetensors", small_disk / "card.json"
    save_named({"a": torch.zeros(3)}, path)
    card.write_text("names zeros")
    before = path.read_bytes()
    with pytest.raises(FileError, match=r"disk/model\.safetensors: cannot be written .*free space") as caught:
        save_named({"a": torch.zeros(30000)}, path)
    assert "\n" not in str(caught.value) and PREFIX not in str(caught.value)
    assert path.read_bytes() == before and card.is_file()
    assert sorted(p.name for p in small_disk.iterdir()) == ["card.json", "model.safetensors"]
