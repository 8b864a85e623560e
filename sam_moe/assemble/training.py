"""A recipe becomes a training: the paper that it names follows it."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from sam_moe.config import read_settings
from sam_moe.errors import ConfigError
from sam_moe.progress import Progress, silent
from sam_moe.registry.system import DEFAULT_SYSTEM, SYSTEMS

# The older paper's recipes have verbs of their own.
_VERBS = "sam-moe pretrain, finetune or train-gate"


def check_recipe(path: Path, overrides: Sequence[str] = ()) -> str:
    """The paper whose recipe this is, once all of it has been checked, without torch.

    Raises:
        ConfigError: for a recipe that names no paper with recipes for `train`, or that cannot be followed.
    """
    named = read_settings(path).get("system")
    known = [name for name in SYSTEMS.own if name != DEFAULT_SYSTEM]
    if named not in known:
        what = "is missing" if named is None else f"is {named!r}"
        raise ConfigError(
            f"{path}: system: {what}; expected one of: {', '.join(known)}. Recipes of {DEFAULT_SYSTEM} are "
            f"followed by {_VERBS}."
        )
    import_module(f"{SYSTEMS.room}.{named}.recipe").check_recipe("train", path, overrides)
    return str(named)


def follow(path: Path, overrides: Sequence[str] = (), progress: Progress = silent) -> Path:
    """Follow a recipe to its end; the path of the weights, beside which their card lies.

    Raises:
        ConfigError: as `check_recipe`, and where the paper's extra is not installed.
        FileError: where the run's folder cannot be written, or is full.
    """
    from sam_moe.assemble.load import imported

    system = check_recipe(path, overrides)
    made: Path = imported(system, "train.following").follow(path, overrides, progress)
    return made
