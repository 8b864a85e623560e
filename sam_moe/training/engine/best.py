"""The best weights that a training's validations have met, kept as a file in its folder."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from sam_moe.weights.files import read_metadata, read_state, save_weights

BEST = "best.safetensors"


@dataclass(frozen=True)
class Validation:
    """How weights are measured, and after how many steps again.

    Args:
        measure: takes averaged weights and returns figures; the highest `score` decides what is kept.
        every: steps between two validations; the last step is always validated.
    """

    measure: Callable[[dict[str, Tensor]], dict[str, float]]
    every: int = 1000

    def due(self, done: int, steps: int) -> bool:
        """Whether weights are measured after `done` of `steps` steps."""
        return done % self.every == 0 or done == steps


@dataclass(frozen=True)
class Kept:
    """What a training ends with: averaged weights, the step they are of, and their validation figures."""

    weights: dict[str, Tensor]
    step: int
    figures: dict[str, float]


def keep_best(found: Kept, folder: Path) -> None:
    """Write the weights, unless the folder has some with as high a `score`."""
    best = read_best(folder)
    if best is None or found.figures["score"] > best.figures["score"]:
        about = {"step": str(found.step), "figures": json.dumps(found.figures)}
        save_weights(found.weights, folder / BEST, about)


def read_best(folder: Path) -> Kept | None:
    """The best so far; None before the first validation."""
    path = folder / BEST
    if not path.is_file():
        return None
    about = read_metadata(path)
    return Kept(read_state(path), int(about["step"]), json.loads(about["figures"]))
