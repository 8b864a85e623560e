"""The kinds of recipe that this paper has, by the verb that follows them; read and checked without torch."""

from collections.abc import Sequence
from pathlib import Path

from sam_moe.config import Settings, load_settings
from sam_moe.systems.sam_med3d_moe.finetune.settings import FinetuneRecipe
from sam_moe.systems.sam_med3d_moe.pretrain.settings import PretrainRecipe
from sam_moe.systems.sam_med3d_moe.train_gate.settings import GateRecipe

RECIPES: dict[str, type[Settings]] = {
    "pretrain": PretrainRecipe,
    "finetune": FinetuneRecipe,
    "train-gate": GateRecipe,
}


def check_recipe(verb: str, path: Path, overrides: Sequence[str] = ()) -> Settings:
    """Read a recipe for a verb, before anything heavy is imported: a slip in it is answered at once.

    Raises:
        ConfigError: naming file or override, key and remedy.
    """
    return load_settings(RECIPES[verb], path, overrides)
