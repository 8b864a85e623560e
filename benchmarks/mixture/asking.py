"""What each system of `reproduce.py` answers about one scan's targets, and who of a mixture it was."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np
import torch

from benchmarks.cases import read_case
from benchmarks.mixture.systems import GENERAL, IMAGE_GATE, MIXTURE, PROMPT_GATE, Systems
from benchmarks.quality.blocks import GENERAL as GENERAL_BLOCK
from benchmarks.quality.blocks import ZERO_SHOT, Target
from benchmarks.quality.protocol import SHOWN, Score, by_box, click_through, drawn_box
from sam_moe.predict.prediction import Prediction
from sam_moe.predict.predictor import Predictor
from sam_moe.prompts import Box, Point
from sam_moe.prompts.simulate import Mask
from sam_moe.systems.sam_med3d_moe.model import SamMed3DMoE

PROMPTS = (*(f"click{n}" for n in SHOWN if n != 3), "box")
GATES = (MIXTURE, IMAGE_GATE, PROMPT_GATE)


@dataclass(frozen=True)
class Answer:
    """One answer of one system to one target.

    For a system with a gate, `experts` says who answered with which weight and `confidence` how sure the
    gate was of each, for the region whose answer stands. `general_alone`: whatever was decoded for this
    target so far, the general expert did it; `same_bits`: the answers so far equal the general model's in
    every bit.
    """

    target: Target
    system: str
    score: Score
    experts: dict[str, float] = field(default_factory=dict)
    confidence: dict[str, float] = field(default_factory=dict)
    general_alone: bool | None = None
    same_bits: bool | None = None

    @property
    def prompt(self) -> str:
        """What was said: click1, click5, box."""
        return self.score.prompt

    @property
    def dice(self) -> float:
        """The overlap with the truth."""
        return self.score.dice


class Asked:
    """A predictor that is asked click by click, and keeps a record of what it answered."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self.predictions: list[Prediction] = []
        self.digests: list[str] = []
        self.alone: list[bool | None] = []

    def clicks(self, said: Sequence[Point]) -> Mask:
        """Answer the clicks so far; only the last one is new."""
        ask = self.predictor.predict if len(said) == 1 else self.predictor.refine
        return self._note(lambda: ask(said[-1]))

    def box(self, box: Box) -> Mask:
        """Answer a box."""
        return self._note(lambda: self.predictor.predict(box))

    def _note(self, ask: Callable[[], Prediction]) -> Mask:
        model = self.predictor.model.network
        before = model.bank.calls.copy() if isinstance(model, SamMed3DMoE) else None
        prediction = ask()
        if isinstance(model, SamMed3DMoE) and before is not None:
            self.alone.append(set(model.bank.calls - before) <= {model.bank.ids[0]})
        else:
            self.alone.append(None)
        self.predictions.append(prediction)
        self.digests.append(_digest(prediction))
        return np.asarray(prediction.mask.numpy().astype(bool))


def answers_of(targets: Sequence[Target], systems: Systems) -> Iterator[Answer]:
    """Ask every system about targets of one scan; about what none learnt the general model and the gates."""
    scan, labels = read_case(targets[0].set, targets[0].case)
    sessions = {name: model.open(scan) for name, model in systems.models.items()}
    for target in targets:
        truth = torch.isin(labels.array.long(), torch.tensor(target.values)).numpy()
        box = drawn_box(truth, target.seed)
        plain: dict[str, Asked] = {}
        for name in _asked_about(target, systems):
            predictor = sessions[name]
            clicked, boxed = Asked(predictor), Asked(predictor)
            scores, _ = click_through(clicked.clicks, truth, scan.grid.spacing_mm)
            scores.append(by_box(boxed.box, box, truth))
            if name == GENERAL:
                plain = {"click": clicked, "box": boxed}
            for score in scores:
                if score.prompt in PROMPTS:
                    way = "box" if score.prompt == "box" else "click"
                    asked = boxed if way == "box" else clicked
                    count = 1 if way == "box" else int(score.prompt.removeprefix("click"))
                    yield _answer(target, name, score, asked, plain[way], count)


def _asked_about(target: Target, systems: Systems) -> list[str]:
    known = target.block in (GENERAL_BLOCK, ZERO_SHOT)
    return [name for name in systems.models if known or name in (GENERAL, *GATES)]


def _answer(target: Target, name: str, score: Score, asked: Asked, plain: Asked, count: int) -> Answer:
    if name not in GATES or not asked.predictions:
        return Answer(target, name, score)
    last = asked.predictions[min(count, len(asked.predictions)) - 1]
    alone = all(asked.alone[:count])
    return Answer(
        target,
        name,
        score,
        dict(last.answered.experts),
        dict(last.answered.confidence),
        alone,
        asked.digests[:count] == plain.digests[:count],
    )


def _digest(prediction: Prediction) -> str:
    array, affine = prediction.answer.array.contiguous(), prediction.answer.grid.affine
    return sha256(array.numpy().tobytes() + affine.tobytes()).hexdigest()
