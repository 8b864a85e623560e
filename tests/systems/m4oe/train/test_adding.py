"""An expert more: what is there keeps every bit, the new one begins as the old one that was weighed most."""

import pytest
import torch

from sam_moe.errors import ConfigError
from sam_moe.moe.system import tensors_of
from sam_moe.registry import AutomaticCard
from sam_moe.systems.m4oe.model import Slices
from sam_moe.systems.m4oe.train.adding import adding_phase, check_start, extend
from sam_moe.systems.m4oe.train.settings import M4oERecipe
from tests.registry.conftest import make_automatic_card
from tests.systems.m4oe.scans import recipe_of
from tests.systems.m4oe.tiny import CONV, IDS, mixture_of, network, noise


def larger(liked):
    """A finished model of two experts of which the gates weigh one most, and one of three that goes on."""
    start = network(CONV.model_copy(update={"classes": (3, 3)}), mixture_of(2))
    for site in start.sites().values():
        for number, column in enumerate(site.gate.columns):
            torch.nn.init.zeros_(column.weight)
            torch.nn.init.constant_(column.bias, float(number == liked))
    model = network(CONV, mixture_of(3), seed=1, gates=False)
    batch = {"image": noise(3, 3, 8, 8), "set": torch.tensor([2, 0, 2]), "scan": torch.arange(3)}
    extend(model, start, [batch])
    return start, model


@pytest.mark.parametrize("liked", [0, 1])
def test_old_tensors_keep_every_bit_and_the_new_expert_begins_as_the_one_weighed_most(liked):
    start, model = larger(liked)
    state = model.state_dict()
    for name, tensor in start.state_dict().items():
        assert torch.equal(state[name], tensor)
    for place in model._places:
        new, old = (place.expert(id).state_dict() for id in (IDS[2], IDS[liked]))
        assert all(torch.equal(new[name], old[name]) for name in new)
        assert not place.site.gate.columns[2].weight.any()
    fresh = network(CONV, mixture_of(3), seed=1, gates=False).state_dict()
    assert torch.equal(state["host.outputs.2.weight"], fresh["host.outputs.2.weight"])


def test_old_sets_are_answered_as_before_by_their_experts():
    start, model = larger(0)
    images, heads = noise(2, 3, 8, 8), torch.tensor([0, 1])
    with torch.no_grad():
        rows = Slices(images, heads, torch.arange(2))
        before, after = (one(rows, one.known(heads))[0] for one in (start, model))
    assert torch.equal(before, after)


def test_its_phase_names_the_expert_its_columns_and_its_heads():
    model = network(CONV, mixture_of(3))
    named = set(adding_phase(model, "add-mr-t1").names(tensors_of(model)))
    assert {name for name in named if "outputs" in name} == {"host.outputs.2.weight", "host.outputs.2.bias"}
    rest = {name for name in named if "outputs" not in name}
    assert all(".experts.mr-t1." in name or ".gate.columns.2." in name for name in rest)
    assert len(rest) == len(model.sites()) * (4 + 2)
    with pytest.raises(ConfigError, match="'add-pet' adds no expert of mixture.experts: ct, mr-t2, mr-t1"):
        adding_phase(model, "add-pet")


@pytest.fixture
def recipe(tmp_path):
    return M4oERecipe.model_validate(recipe_of(tmp_path, tmp_path / "run"))


def card(recipe, **changes):
    """A finished model of the recipe's first set and both its experts."""
    sizes = recipe.architecture.model_copy(update={"classes": (3,)}).model_dump(mode="json")
    fields = {"architecture": sizes, "sets": [recipe.sets[0].model_dump(mode="json")], "id": "first"}
    return AutomaticCard.model_validate(
        make_automatic_card(**{**fields, "mixture": {"experts": ["ct", "mr"]}, **changes})
    )


def test_a_recipe_that_goes_on_from_a_model_has_all_that_it_has_first(recipe):
    check_start(recipe, card(recipe))
    sizes = recipe.architecture.model_dump(mode="json") | {"classes": [3], "mlp_ratio": 3}
    with pytest.raises(ConfigError, match="architecture: differs from that of first in more than classes"):
        check_start(recipe, card(recipe, architecture=sizes))
    with pytest.raises(ConfigError, match=r"mixture\.experts: begins with .*first has \('pet', 'ct'\)"):
        check_start(recipe, card(recipe, mixture={"experts": ["pet", "ct"]}))
    other = [recipe.sets[0].model_dump(mode="json") | {"id": "head"}]
    with pytest.raises(ConfigError, match=r"sets: begins with .*first has \('head',\)"):
        check_start(recipe, card(recipe, sets=other))
    with pytest.raises(ConfigError, match="card.id: 'toy' is the start's; give the new model one of its own"):
        check_start(recipe, card(recipe, id="toy"))


def test_a_start_that_weighs_otherwise_or_has_no_gates_is_refused(recipe):
    with pytest.raises(ConfigError, match="mixture: scores, pooling and ungated differ from those of first"):
        check_start(recipe, card(recipe, mixture={"experts": ["ct", "mr"], "pooling": "token"}))
    with pytest.raises(ConfigError, match="start: first has one expert, so no gate"):
        check_start(recipe, card(recipe, mixture={"experts": ["ct"]}))
