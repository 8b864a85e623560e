"""A recipe that contradicts itself is refused."""

from pathlib import Path

import pytest

from sam_moe.config import load_settings
from sam_moe.errors import ConfigError
from sam_moe.systems.sam_med3d_moe.train_gate.settings import GateRecipe


def test_structures_of_several_experts_and_k_without_top_k_are_refused(gate_recipe):
    twice = [{"expert": name, "structures": {"x": ["x"]}} for name in "ab"]
    with pytest.raises(ConfigError, match="structures x have several experts"):
        load_settings(GateRecipe, gate_recipe(experts=twice))
    with pytest.raises(ConfigError, match="'k' is for selection 'top_k' alone"):
        load_settings(GateRecipe, gate_recipe(k=2))
    with pytest.raises(ConfigError, match="k 3 is more than the 2 experts"):
        load_settings(GateRecipe, gate_recipe(selection="top_k", k=3))
    assert load_settings(GateRecipe, gate_recipe(selection="top_k", k=2)).k == 2


def test_the_recipe_that_ships_can_be_followed():
    folder = Path(__file__).resolve().parents[4] / "checkpoints"
    recipe = load_settings(GateRecipe, folder / "small-moe" / "recipe.yaml")
    assert (recipe.card.id, recipe.base) == ("small-moe", "small")
    assert all((folder / one.expert / "recipe.yaml").is_file() for one in recipe.experts)
