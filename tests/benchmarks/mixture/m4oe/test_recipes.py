"""Variants differ from their recipe in what their names mean, and in nothing else."""

import pytest

from benchmarks.mixture.m4oe.recipes import (
    ONE,
    added_last,
    adding,
    described,
    names_of,
    parameters_of,
    shortened,
    variant,
    without_last,
)
from benchmarks.mixture.m4oe.variants import read_base
from sam_moe.systems.m4oe.train.settings import M4oERecipe
from tests.benchmarks.mixture.m4oe.tiny import write_recipe


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipe")
    return read_base(write_recipe(folder), folder / "data")


def test_every_variant_is_a_recipe_of_one_phase_with_an_id_of_its_own(base):
    made = {name: M4oERecipe.model_validate(variant(base, name, 40, seed=3)) for name in names_of(base)}
    assert list(made)[-2:] == ["only-neck", "only-brain"]
    assert len({recipe.card.id for recipe in made.values()}) == len(made)
    for name, recipe in made.items():
        (phase,) = recipe.phases
        assert (recipe.seed, phase.schedule.steps, phase.validate_every) == (3, 40, 0)
        assert phase.phase == ("together" if name in ("gate", "gate-domain", "channel") else "trunk")
        assert described(name) and recipe.data == made["hard"].data
    assert {recipe.phases[0].schedule for recipe in made.values()} == {made["hard"].phases[0].schedule}


def test_what_each_variant_changes(base):
    found = {name: M4oERecipe.model_validate(variant(base, name, 40, 0)) for name in names_of(base)}
    assert {name: found[name].mixture.scores for name in ("hard", "gate", "gate-domain", "channel")} == {
        "hard": "forced",
        "gate": "expert",
        "gate-domain": "expert",
        "channel": "channel",
    }
    assert [found[name].phases[0].domain for name in ("gate", "gate-domain")] == [0.0, 0.1]
    assert found["dense"].mixture.experts == (ONE,) and found["dense"].owners == (0, 0)
    ratios = [found[name].architecture.mlp_ratio for name in ("hard", "dense", "dense-wide")]
    assert ratios == [2, 2, 4]  # of two experts
    assert found["only-brain"].drawing.weights == {"neck": 0.0, "brain": 1.0}
    assert found["only-brain"].mixture == found["hard"].mixture


def test_the_plain_network_has_no_places_and_as_many_parameters(base):
    data = variant(base, "plain", 40, 0)
    assert data["architecture"]["site_levels"] == 0 and data["architecture"]["host"] == "conv_unet"
    wanted = parameters_of(variant(base, "hard", 40, 0))
    assert abs(parameters_of(data) - wanted) < 0.1 * wanted
    assert parameters_of(variant(base, "dense", 40, 0)) < wanted


def test_a_short_training_averages_fewer_steps(base):
    schedule = variant(base, "hard", 40, 0)["phases"][0]["schedule"]
    assert schedule["average"] == 0.5 and schedule["warmup"] == 0  # the recipe's are less
    longer = {
        **base,
        "phases": [{"phase": "trunk", "schedule": {"steps": 9000, "average": 0.998, "warmup": 200}}],
    }
    schedule = variant(longer, "hard", 750, 0)["phases"][0]["schedule"]
    assert schedule["warmup"] == 75 and schedule["average"] == pytest.approx(1 - 20 / 750)


def test_a_set_that_is_added_later_stands_last_with_its_expert_and_can_be_left_out(base):
    moved = added_last(base, "neck")
    assert [each["id"] for each in moved["sets"]] == ["brain", "neck"]
    assert moved["mixture"]["experts"] == ["mr", "ct"] and moved["architecture"]["classes"] == [2, 3]
    less = M4oERecipe.model_validate(without_last(moved))
    assert [each.id for each in less.sets] == ["brain"] and less.mixture.experts == ("mr",)
    assert set(less.data.sets) == {"brain"} and base["mixture"]["experts"] == ["ct", "mr"]
    more = adding(moved, "runs/less", 30)
    assert more["start"] == "runs/less" and [each["phase"] for each in more["phases"]] == ["add-ct"]


def test_phases_are_shortened_alike(base):
    longer = {
        **base,
        "phases": [
            {"phase": "trunk", "schedule": {"steps": 1000}},
            {"phase": "gate", "schedule": {"steps": 30}},
            {"phase": "together", "schedule": {"steps": 100}},
        ],
    }
    steps = [each["schedule"]["steps"] for each in shortened(longer, 500)["phases"]]
    assert steps == [500, 15, 50]
