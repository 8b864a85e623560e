"""A recipe is followed by the paper that it names, and others are answered before any work."""

import subprocess
import sys

import pytest

from sam_moe.assemble.training import check_recipe
from sam_moe.errors import ConfigError


def test_a_recipe_without_a_paper_is_answered_with_the_verbs_of_the_older_one(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("run: here\n")
    with pytest.raises(ConfigError, match=r"system: is missing; expected one of: .*m4oe.*train-gate"):
        check_recipe(path)
    path.write_text("system: sam_med3d_moe\n")
    with pytest.raises(ConfigError, match=r"system: is 'sam_med3d_moe'; expected one of"):
        check_recipe(path)
    path.write_text("system: [m4oe]\n")
    with pytest.raises(ConfigError, match=r"system: is \['m4oe'\]"):
        check_recipe(path)


def test_a_slip_is_answered_before_torch_is_imported(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("system: m4oe\nseed: 1\n")
    program = (
        "import sys\nfrom pathlib import Path\nfrom sam_moe.assemble.training import check_recipe\n"
        f"try: check_recipe(Path({str(path)!r}))\nexcept Exception as error: print(error)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "run: missing; add it" in done.stdout and done.stdout.endswith("False\n")


@pytest.mark.parametrize("id", ["auto-small", "m4oe-small"])
def test_the_recipes_that_ship_can_be_followed(request, id):
    assert check_recipe(request.config.rootpath / "checkpoints" / id / "recipe.yaml") == "m4oe"
