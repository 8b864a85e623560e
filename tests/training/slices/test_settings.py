"""What a recipe says of slices: checked when it is read, without torch."""

import subprocess
import sys

import pytest

from sam_moe.config import dump_settings, load_settings
from sam_moe.errors import ConfigError
from sam_moe.training.slices.settings import (
    PARTS,
    Augmentation,
    Drawing,
    LabelledSource,
    SetSources,
    SliceData,
)

RECIPE = """
folder: data
sets:
  ct:
    train:
    - {layout: folders, root: one, splits: splits.json, part: train, missing: uncontoured}
    - {layout: nnunet, root: two, series: T1, labels: {left: [3]}}
    validation:
    - {layout: folders, root: one, splits: splits.json, part: validation}
"""


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    return path


def test_a_recipe_names_sources_by_part(recipe):
    sources = load_settings(SliceData, recipe).sets["ct"]
    assert [source.root for source in sources.of("train")] == ["one", "two"]
    assert [source.part for source in sources.of("validation")] == ["validation"]


def test_what_is_read_is_written_and_read_again(recipe, tmp_path):
    first = load_settings(SliceData, recipe)
    dump_settings(first, tmp_path / "again.yaml")
    assert load_settings(SliceData, tmp_path / "again.yaml") == first


def test_settings_start_without_torch():
    code = "import sys, sam_moe.training.slices.settings; assert not {'torch', 'monai'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_a_map_lacks_is_absent_unless_the_source_has_it_otherwise(recipe):
    first, second = load_settings(SliceData, recipe).sets["ct"].train
    assert (first.missing, second.missing) == ("uncontoured", "absent")


def test_a_set_without_cases_to_learn_from_is_refused(recipe):
    with pytest.raises(ConfigError, match=r"sets\.ct\.train"):
        load_settings(SliceData, recipe, ["sets.ct.train=[]"])


def test_a_misspelt_key_is_named_with_the_nearest(recipe):
    with pytest.raises(ConfigError, match="validation"):
        load_settings(SliceData, recipe, ["sets.ct.validate=[]"])


def test_an_unknown_layout_is_refused():
    with pytest.raises(ValueError, match="folders"):
        LabelledSource(layout="folder", root="one")


def test_there_are_two_parts():
    assert set(SetSources.model_fields) == set(PARTS)


@pytest.mark.parametrize("zoom", [(1.2, 0.8), (0.0, 1.0), (-1.0, 1.0)])
def test_ranges_that_run_backwards_are_refused(zoom):
    with pytest.raises(ValueError, match="zoom: .* two positive numbers, the lower first"):
        Augmentation(zoom=zoom)
    with pytest.raises(ValueError, match="gamma: "):
        Augmentation(gamma=zoom)


@pytest.mark.parametrize(
    "wrong",
    [{"tile": 0}, {"organ_share": 1.1}, {"weights": {"ct": -1}}, {"augmentation": {"noise": 2}}],
)
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Drawing.model_validate(wrong)


def test_one_set_alone_is_the_same_drawing_with_the_weight_of_the_others_0():
    drawing = Drawing(tile=64, organ_share=0.5, weights={"mr": 3.0})
    alone = drawing.of_one_set("ct", ("ct", "mr"))
    assert alone.weights == {"ct": 1.0, "mr": 0.0}
    assert alone.model_copy(update={"weights": drawing.weights}) == drawing
