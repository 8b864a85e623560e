"""The recipes of the paper by the verb that reads them."""

from pathlib import Path

import pytest

from sam_moe.errors import ConfigError
from sam_moe.systems.m4oe.recipe import RECIPES, check_recipe
from sam_moe.systems.m4oe.train.settings import M4oERecipe
from tests.systems.m4oe.scans import write_recipe

SHIPPED = Path(__file__).resolve().parents[3] / "checkpoints"


def test_train_reads_a_recipe_with_what_was_set(tmp_path):
    path = write_recipe(tmp_path / "data", tmp_path / "run")
    recipe = check_recipe("train", path, ["seed=7"])
    assert isinstance(recipe, M4oERecipe) and recipe.seed == 7 and list(RECIPES) == ["train"]


def test_a_slip_names_file_and_key(tmp_path):
    path = write_recipe(tmp_path / "data", tmp_path / "run", workers=-1)
    with pytest.raises(ConfigError, match=r"run\.yaml.*workers"):
        check_recipe("train", path)


@pytest.mark.parametrize("name", ["m4oe-small", "auto-small"])
def test_the_recipes_of_what_ships_are_read(name):
    recipe = check_recipe("train", SHIPPED / name / "recipe.yaml")
    assert isinstance(recipe, M4oERecipe) and recipe.card.id == name
    assert [each.phase for each in recipe.phases] == ["trunk", "gate", "together"]
