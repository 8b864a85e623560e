"""The kinds of recipe that this paper has; read and checked without torch."""

from collections.abc import Sequence
from pathlib import Path

from sam_moe.config import Settings, load_settings
from sam_moe.systems.m4oe.train.settings import M4oERecipe

RECIPES: dict[str, type[Settings]] = {"train": M4oERecipe}


def check_recipe(verb: str, path: Path, overrides: Sequence[str] = ()) -> Settings:
    """Read a recipe for a verb, before anything heavy is imported: a slip in it is answered at once.

    Raises:
        ConfigError: naming file or override, key and remedy.
    """
    return load_settings(RECIPES[verb], path, overrides)
