"""The regions of a recipe are encoded once, and again only where they would differ."""

import pytest

from sam_moe.config import load_settings
from sam_moe.errors import ConfigError
from sam_moe.progress import silent
from sam_moe.systems.sam_med3d_moe.cards.backbone import load_base
from sam_moe.systems.sam_med3d_moe.finetune.embedded import Embedded, embedded_path, origin_of
from sam_moe.systems.sam_med3d_moe.finetune.regions import embed_part, keep_recipe_scans
from sam_moe.systems.sam_med3d_moe.finetune.settings import FinetuneRecipe


@pytest.fixture
def base(backbone):
    return load_base(str(backbone))


@pytest.fixture
def embedded(task, base):
    """Embeds one part by a recipe with changes; the path of its file."""

    def make(part="train", **changes):
        recipe = load_settings(FinetuneRecipe, task(**changes))
        embed_part(recipe, part, keep_recipe_scans(recipe, part, silent), base, silent)
        return embedded_path(recipe.run, part)

    return make


def test_a_part_is_embedded_once_until_its_regions_would_differ(embedded):
    path = embedded()
    assert Embedded(path).count == 11
    first, before = origin_of(path), path.stat().st_mtime_ns
    embedded(schedule={"steps": 9}, card={"title": "Other"})
    assert path.stat().st_mtime_ns == before
    embedded(seed=4)
    assert path.stat().st_mtime_ns > before and origin_of(path) != first


def test_validation_is_neither_spoiled_nor_painted_and_follows_no_seed(embedded):
    path = embedded("validation", data={"phantom_share": 0.5, "spoil_share": 0.5})
    first = origin_of(path)
    assert Embedded(path).count == 4
    assert origin_of(embedded("validation", seed=9)) == first


def test_a_structure_that_no_scan_shows_is_an_error_of_the_train_part(task, tmp_path):
    recipe = load_settings(FinetuneRecipe, task(data={"structures": {"spleen": ["spleen"]}}))
    with pytest.raises(ConfigError, match=r"the train part of .* holds no voxel of spleen"):
        keep_recipe_scans(recipe, "train", silent)
