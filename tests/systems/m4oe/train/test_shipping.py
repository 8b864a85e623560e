"""What a finished training leaves: weights that load, references by which a scan is known, and the card."""

import math

import pytest
import torch

from sam_moe.config import load_settings
from sam_moe.errors import ConfigError
from sam_moe.registry import read_card
from sam_moe.slices.glance import glance_at
from sam_moe.systems.m4oe.automatic import AutomaticM4oE
from sam_moe.systems.m4oe.references import distance, reference
from sam_moe.systems.m4oe.train.learner import fresh_model
from sam_moe.systems.m4oe.train.settings import M4oERecipe
from sam_moe.systems.m4oe.train.shipping import profiles, ship
from sam_moe.training.slices.cache import SliceCache, cache_folder
from sam_moe.training.slices.keeping import keep_slices
from sam_moe.weights.files import read_state
from tests.systems.m4oe.scans import write_recipe
from tests.systems.toys import decided


def caches(run, sets):
    return [SliceCache(cache_folder(run, part), sets) for part in ("train", "validation")]


@pytest.fixture
def shipped(whole, data, tmp_path):
    """Ships a network by noise in a folder of its own."""

    def make(decide=True, fill=None, **changes):
        recipe = load_settings(M4oERecipe, write_recipe(data, tmp_path / "run", **changes), ())
        recipe.run.mkdir()
        for number, each in enumerate(recipe.phases, start=1):
            folder = recipe.run / f"{number}-{each.phase}"
            folder.mkdir()
            (folder / "log.jsonl").write_text('{"step": 2, "samples_per_s": 4.0}\n')
        model = fresh_model(recipe.architecture, recipe.mixture, recipe.owners, 0)
        for number, site in enumerate(model.sites().values() if decide else ()):
            decided(site.gate, number)
        if fill is not None:
            torch.nn.init.constant_(model.host.outputs[0].bias, fill)
        return ship(recipe, model, *caches(whole.run, recipe.sets), "sam-moe train toy.yaml"), model

    return make


def test_the_card_has_what_the_recipe_says_and_what_was_measured(whole):
    card, recipe = read_card(whole.run / "card.json"), load_settings(M4oERecipe, whole.path)
    assert (card.id, card.system, card.kind) == ("toy", "m4oe", "automatic")
    assert card.architecture == recipe.architecture and card.mixture == recipe.mixture
    assert [each.model_copy(update={"far": None}) for each in card.sets] == list(recipe.sets)
    assert card.weights.dtype == "float16" and card.made_by.command == f"sam-moe train {whole.path}"
    assert card.made_by.data == ("neck_ct", "Dataset001_Brain") and card.made_by.seeds == (3,)
    assert card.made_by.hours >= 0 and card.made_by.hardware
    rows = {(row.data, row.protocol.split(";")[0]): row for row in card.measured}
    assert set(rows) == {
        ("validation scans of neck", "cord"),
        ("validation scans of neck", "larynx"),
        ("validation scans of brain", "hippocampus"),
    }
    assert all(row.cases == 1 and row.metric == "Dice" and 0 <= row.value <= 1 for row in rows.values())


def test_a_reference_is_of_the_training_scans_profiles_and_far_beyond_the_validation_scans(whole):
    """Two training scans a set, each as far from the other as can be; one validation scan."""
    card, state = read_card(whole.run / "card.json"), read_state(whole.weights)
    model = fresh_model(card.architecture, card.mixture, (0, 1), 0)
    own = {name: tensor.float() for name, tensor in state.items() if not name.startswith("reference.")}
    model.load_state_dict(own)
    network = AutomaticM4oE(model, card.sets, {})
    train, validation = caches(whole.run, card.sets)
    for number, each in enumerate(card.sets):
        found = profiles(network, train, number)
        assert found.shape == (2, 2 * len(model.sites()))
        scans = [one for one in train.wholes() if one.set == number]
        torch.testing.assert_close(found[0], network.look(glance_at(scans[0].stack.array)).mean(dim=0))
        mean, precision = reference(found)
        torch.testing.assert_close(state[f"reference.{each.id}.mean"].float(), mean)
        torch.testing.assert_close(state[f"reference.{each.id}.precision"].float(), precision)
        left = [distance(found[n], *reference(found[[1 - n]])) for n in (0, 1)]
        held_out = [distance(row, mean, precision) for row in profiles(network, validation, number)]
        assert each.far == pytest.approx(max(left + held_out), rel=1e-3)


def test_references_are_kept_in_single_precision(shipped):
    weights, _ = shipped()
    state = read_state(weights)
    assert {
        state[f"reference.{id}.{kind}"].dtype for id in ("neck", "brain") for kind in ("mean", "precision")
    } == {torch.float32}
    assert state["host.outputs.0.bias"].dtype == torch.float16


@pytest.mark.parametrize("scores", ["expert", "channel", "uniform", "forced"])
def test_gates_that_learnt_nothing_know_no_scan(shipped, scores):
    weights, _ = shipped(decide=False, mixture={"experts": ["ct", "mr"], "scores": scores})
    assert not any("reference" in name for name in read_state(weights))
    assert [each.far for each in read_card(weights.parent / "card.json").sets] == [None, None]


def test_a_single_training_scan_has_a_reference_and_is_far_beyond_the_validation_scan(shipped, whole, data):
    recipe = load_settings(M4oERecipe, whole.path, ())
    sources = recipe.data.model_dump(mode="json")
    for source in sources["sets"].values():
        for one in source["train"]:
            one["cases"] = ["a"] if one["layout"] == "folders" else ["ba"]
    single = type(recipe.data).model_validate(sources)
    model = fresh_model(recipe.architecture, recipe.mixture, recipe.owners, 0)
    for number, site in enumerate(model.sites().values()):
        decided(site.gate, number)
    folder = data / "single"
    train, validation = (keep_slices(single, recipe.sets, part, folder) for part in ("train", "validation"))
    path = ship(recipe.model_copy(update={"run": folder, "phases": ()}), model, train, validation, "by hand")
    assert all(math.isfinite(each.far) and each.far > 0 for each in read_card(path.parent / "card.json").sets)


def test_a_weight_too_large_for_half_precision_is_refused_before_anything_is_written(shipped, tmp_path):
    with pytest.raises(
        ConfigError, match=r"host\.outputs\.0\.bias does not fit into float16. Set `store: float32`"
    ):
        shipped(fill=1e6)
    assert not (tmp_path / "run/model.safetensors").exists() and not (tmp_path / "run/card.json").exists()


def test_in_single_precision_weights_are_stored_as_they_are(shipped):
    weights, model = shipped(fill=1e6, store="float32")
    state = read_state(weights)
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())
    assert read_card(weights.parent / "card.json").weights.dtype == "float32"
