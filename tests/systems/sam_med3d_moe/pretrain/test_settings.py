"""A recipe of a general model that contradicts itself is refused."""

import pytest

from sam_moe.config import load_settings
from sam_moe.errors import ConfigError
from sam_moe.systems.sam_med3d_moe.pretrain.settings import PretrainRecipe


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"preprocessing": {"region_voxels": 24}}, r"region_voxels 24 must equal architecture.image_size 16"),
        (
            {"architecture": {"corner_embeddings": False}, "card": {"default_box_strategy": "corners"}},
            "corners",
        ),
        ({"card": {"licence": ""}}, r"card.licence"),
        ({"schedule": {"decay": 0}}, r"schedule.decay"),
        ({"precision": "float16"}, r"precision"),
    ],
)
def test_a_recipe_that_contradicts_itself_is_refused(recipe, changes, message):
    with pytest.raises(ConfigError, match=message):
        load_settings(PretrainRecipe, recipe(**changes))


def test_phantoms_are_a_tenth_where_nothing_is_asked_for(recipe):
    assert load_settings(PretrainRecipe, recipe(data={"phantom_share": 0.1})).data.curriculum == 0
