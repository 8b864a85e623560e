"""What a target asks of a promptable session; `predict.predictor.Predictor` is one."""

from typing import Protocol

from sam_moe.predict.parts import ModelParts
from sam_moe.predict.prediction import Prediction
from sam_moe.prompts.prompt import Item, Prompt
from sam_moe.space.volume import Volume


class Session(Protocol):
    """A session on one scan, one target in it; every call answers anew and can be undone."""

    @property
    def model(self) -> ModelParts:
        """What answers."""

    @property
    def scan(self) -> Volume:
        """The scan."""

    @property
    def prompt(self) -> Prompt:
        """All items of the target; empty where there is none."""

    def predict(self, *items: Item | Prompt) -> Prediction:
        """Begin a target."""

    def refine(self, *items: Item | Prompt) -> Prediction:
        """Add items; without a target they begin one."""

    def undo(self) -> Prediction | None:
        """Take the last call back; the answer before it, None where there is none."""

    def redo(self) -> Prediction | None:
        """Bring the call back that was undone last; its answer."""

    def standing(self) -> Prediction | None:
        """The standing answer; None where there is no target."""
