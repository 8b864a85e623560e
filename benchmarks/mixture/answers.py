"""Answers of each system of `reproduce.py` about the targets of one scan, with the routing of mixtures."""

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
from sam_moe.hosts.sam3d.promptable import PromptableSam3D
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

    For a system with a gate, `experts` has the weight of each expert that answered and `confidence` the
    gate's of each expert, for the region whose answer stands. `general_alone`: all regions of this target so
    far were decoded by the general expert; `same_bits`: the answers so far equal the general model's in
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
        """The name of the prompt: click1, click5, box."""
        return self.score.prompt

    @property
    def dice(self) -> float:
        """The overlap with the truth."""
        return self.score.dice


class RecordedSession:
    """A predictor's session on a scan that keeps each prediction, its checksum and whether experts ran."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self.predictions: list[Prediction] = []
        self.digests: list[str] = []
        self.alone: list[bool | None] = []

    def clicks(self, points: Sequence[Point]) -> Mask:
        """The mask from the points so far, of which only the last one is new."""
        ask = self.predictor.predict if len(points) == 1 else self.predictor.refine
        return self._note(lambda: ask(points[-1]))

    def box(self, box: Box) -> Mask:
        """The mask from a box."""
        return self._note(lambda: self.predictor.predict(box))

    def _note(self, ask: Callable[[], Prediction]) -> Mask:
        network = self.predictor.model.network
        model = network.module if isinstance(network, PromptableSam3D) else None
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
    """Answers of every system about targets of one scan; structures of no expert: general model and gates."""
    scan, labels = read_case(targets[0].set, targets[0].case)
    sessions = {name: model.open(scan) for name, model in systems.models.items()}
    for target in targets:
        truth = torch.isin(labels.array.long(), torch.tensor(target.values)).numpy()
        box = drawn_box(truth, target.seed)
        plain: dict[str, RecordedSession] = {}
        for name in _systems_for(target, systems):
            predictor = sessions[name]
            clicked, boxed = RecordedSession(predictor), RecordedSession(predictor)
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


def _systems_for(target: Target, systems: Systems) -> list[str]:
    known = target.block in (GENERAL_BLOCK, ZERO_SHOT)
    return [name for name in systems.models if known or name in (GENERAL, *GATES)]


def _answer(
    target: Target, name: str, score: Score, asked: RecordedSession, plain: RecordedSession, count: int
) -> Answer:
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
