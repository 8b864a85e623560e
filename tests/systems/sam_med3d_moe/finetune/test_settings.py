"""A recipe of an expert that contradicts itself is refused."""

import pytest

from sam_moe.config import load_settings
from sam_moe.errors import ConfigError
from sam_moe.systems.sam_med3d_moe.finetune.settings import FinetuneRecipe


def test_what_is_left_out_has_its_default(task):
    recipe = load_settings(FinetuneRecipe, task())
    assert (recipe.kind, recipe.lora, recipe.start, recipe.seed) == ("decoder", None, None, 0)
    assert recipe.data.phantom_share == 0 and recipe.schedule.schedule().clip == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "lora"}, r"kind 'lora' needs its ranks: add for example lora: \{rank: 4, alpha: 4\}"),
        ({"lora": {"rank": 2, "alpha": 2}}, r"'lora' is for kind 'lora' alone, and this one is 'decoder'"),
        ({"data": {"structures": {"ball": []}}}, r"data.structures.ball has no labels"),
        ({"kind": "adaptor"}, "adaptor"),
        ({"regions": 0}, r"regions"),
    ],
)
def test_a_recipe_that_contradicts_itself_is_refused(task, changes, message):
    with pytest.raises(ConfigError, match=message):
        load_settings(FinetuneRecipe, task(**changes))
