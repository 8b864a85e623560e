"""Each verb's recipe is read by name, and a slip in it is answered before torch is there."""

import subprocess
import sys
from pathlib import Path

import pytest

from sam_moe.errors import ConfigError
from sam_moe.systems.sam_med3d_moe.recipe import RECIPES, check_recipe

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = {
    "pretrain": ROOT / "checkpoints" / "small" / "recipe.yaml",
    "finetune": ROOT / "checkpoints" / "hippocampus" / "recipe.yaml",
    "train-gate": ROOT / "checkpoints" / "small-moe" / "recipe.yaml",
}


@pytest.mark.parametrize("verb", RECIPES)
def test_the_recipes_that_ship_are_of_their_verbs(verb):
    assert type(check_recipe(verb, SHIPPED[verb], ["seed=3"])) is RECIPES[verb]
    with pytest.raises(ConfigError, match=r"--set seeed=3: seeed: unknown key; did you mean 'seed'"):
        check_recipe(verb, SHIPPED[verb], ["seeed=3"])


@pytest.mark.parametrize("verb", RECIPES)
def test_a_slip_in_a_recipe_is_answered_without_torch(verb):
    program = (
        "import sys; from sam_moe.cli import main; code = main(sys.argv[1:]);"
        "print(code, 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", program, verb, SHIPPED[verb], "--set", "seeed=3"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "1 False\n" and "did you mean 'seed'?" in done.stderr
