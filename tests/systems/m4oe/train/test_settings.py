"""A recipe says what does not fit, naming the field; without torch."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from sam_moe.config import load_settings
from sam_moe.errors import ConfigError
from sam_moe.systems.m4oe.train.settings import M4oERecipe, PhaseRecipe
from tests.systems.m4oe.scans import phase, recipe_of, write_recipe


@pytest.fixture
def fields(tmp_path):
    """The fields of a good recipe, for a test to spoil."""
    return recipe_of(tmp_path / "data", tmp_path / "run")


def test_a_good_one_names_the_expert_of_each_set(fields):
    recipe = M4oERecipe.model_validate(fields)
    assert recipe.owners == (0, 1) and [each.phase for each in recipe.phases][-1] == "together"
    assert (recipe.store, recipe.workers, recipe.tracker, recipe.start) == ("float16", 0, None, None)
    fields["mixture"] = {"experts": ["mr", "pet", "ct"]}
    assert M4oERecipe.model_validate(fields).owners == (2, 0)


def spoilt(fields, path, value):
    *most, last = path
    inner = fields
    for key in most:
        inner = inner[key]
    inner[last] = value
    return fields


WRONG = [
    (("architecture", "classes"), [2, 2], r"architecture\.classes \(2, 2\) must be.*its labels: \(3, 2\)"),
    (("sets", 1, "id"), "head", "data.sets names brain, neck; expected the sets head, neck"),
    (("sets", 0, "expert"), "pet", "set 'neck' names the expert 'pet', which is not among ct, mr"),
    # What a card would refuse after all the training
    (("architecture", "in_channels"), 1, r"architecture\.in_channels 1 must be 3"),
    (("sets", 1, "id"), "neck", "sets names neck more than once"),
    (("drawing", "tile"), 32, r"drawing\.tile 32 must equal architecture\.image_size 16"),
    (("phases",), [], "at least 1"),
    (("system",), "sam_med3d_moe", "m4oe"),
    (("store",), "bfloat16", "float32"),
    (("mixture", "experts"), ["ct", "ct", "mr"], "experts names ct more than once"),
    (("architecture", "image_size"), 18, "image_size 18 must be a multiple of 4"),
]


@pytest.mark.parametrize(("path", "value", "message"), WRONG, ids=[".".join(map(str, w[0])) for w in WRONG])
def test_what_does_not_fit_is_named(fields, path, value, message):
    with pytest.raises(ValidationError, match=message):
        M4oERecipe.model_validate(spoilt(fields, path, value))


def test_a_misspelt_key_is_answered_with_the_nearest(tmp_path):
    path = write_recipe(tmp_path / "data", tmp_path / "run", stroe="float32")
    with pytest.raises(ConfigError, match="stroe.*store"):
        load_settings(M4oERecipe, path)
    good = write_recipe(tmp_path / "data", tmp_path / "run")
    assert load_settings(M4oERecipe, good, ["mixture.pooling=token"]).mixture.pooling == "token"


@pytest.mark.parametrize("keys", [{"validate_every": -1}, {"domain": -0.1}, {"phase": ""}, {"steps": 3}])
def test_a_phase_of_impossible_numbers_is_refused(keys):
    with pytest.raises(ValidationError):
        PhaseRecipe.model_validate({**phase("trunk", 2), **keys})


def test_a_phase_has_its_own_weights_or_those_of_the_drawing():
    assert PhaseRecipe.model_validate(phase("gate", 2)).weights is None
    assert PhaseRecipe.model_validate(phase("gate", 2, weights={"neck": 2.0})).weights == {"neck": 2.0}


def test_it_is_read_without_torch(tmp_path):
    path = write_recipe(tmp_path / "data", tmp_path / "run")
    program = (
        "import sys; from pathlib import Path\n"
        "from sam_moe.systems.m4oe.recipe import check_recipe\n"
        f"print(check_recipe('train', Path({str(path)!r})).seed, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "3 False\n", done.stderr
