"""One conversation: a script speaks to a system about a target, and each answer is scored as it comes."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from sam_moe.errors import PromptError
from sam_moe.evaluation.asking.protocols import Script, Target
from sam_moe.evaluation.asking.systems import Reply, SystemUnderTest
from sam_moe.evaluation.results import Status
from sam_moe.evaluation.scoring.scores import Scores, score, worst
from sam_moe.prompts.prompt import Item
from sam_moe.prompts.simulate import Mask

log = logging.getLogger(__name__)

SILENT = "nothing more was said; the answer stands"


@dataclass(frozen=True)
class Turn:
    """One step: what was said (None: nothing more), the answer as it stands after it, what went wrong."""

    prompt: str
    step: int
    said: Item | None
    mask: Mask
    status: Status = "ok"
    reason: str = ""
    seconds: float = 0.0
    answered: Mapping[str, float] = field(default_factory=dict)
    confidence: Mapping[str, float] = field(default_factory=dict)


def converse(system: SystemUnderTest, script: Script, target: Target) -> Iterator[Turn]:
    """Ask step by step. Where the system fails, its mask stays as it was, for the next click to go by.

    Where nothing is left to say the last turn is repeated, so that every target has every step.
    """
    said: list[Item] = []
    last = Turn("", 0, None, np.zeros_like(target.truth), "missing", "nothing was said")
    for step, name in enumerate(script.steps):
        try:
            item = script.item(target, said, target.judged(last.mask))
        except PromptError as error:
            last = Turn(name, step, None, last.mask, "missing", str(error))
        else:
            if item is None:
                reason = SILENT if last.status == "ok" else last.reason
                last = Turn(
                    name, step, None, last.mask, last.status, reason, 0.0, last.answered, last.confidence
                )
            else:
                said.append(item)
                last = _asked(system, tuple(said), Turn(name, step, item, last.mask))
        yield last


def _asked(system: SystemUnderTest, said: tuple[Item, ...], turn: Turn) -> Turn:
    """The turn with its answer, or with why there is none."""
    start = perf_counter()
    try:
        reply = system.answer(said)
    except Exception as error:  # whatever a system under test does wrong is its result, not our end
        log.debug("%s failed", system.id, exc_info=True)
        seconds = perf_counter() - start
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return Turn(turn.prompt, turn.step, turn.said, turn.mask, "failed", reason, seconds)
    seconds = perf_counter() - start
    wrong = _wrong(reply, turn.mask)
    if wrong is not None:
        return Turn(turn.prompt, turn.step, turn.said, turn.mask, *wrong, seconds)
    return Turn(
        turn.prompt, turn.step, turn.said, reply.mask, "ok", "", seconds, reply.answered, reply.confidence
    )


def _wrong(reply: Reply, expected: Mask) -> tuple[Status, str] | None:
    """What keeps an answer from being scored."""
    if reply.mask.shape != expected.shape:
        return "wrong_grid", f"the answer has shape {reply.mask.shape}, the scan {expected.shape}"
    if reply.mask.dtype != np.bool_:
        return "bad_values", f"the answer holds {reply.mask.dtype}, not true and false"
    return None


class Scorer:
    """Scores turns of one target; an answer that stands is not measured twice."""

    def __init__(self, target: Target, tolerance_mm: float) -> None:
        self.target, self.tolerance_mm = target, tolerance_mm
        self._mask: Mask | None = None
        self._scores: Scores | None = None

    def __call__(self, turn: Turn) -> Scores:
        """The scores of a turn's answer, the worst ones where it has none."""
        truth, spacing_mm = self.target.truth, self.target.spacing_mm
        if turn.status != "ok":
            return worst(truth, spacing_mm, turn.status, turn.reason)
        if self._scores is None or self._mask is not turn.mask:
            self._scores = score(truth, self.target.judged(turn.mask), spacing_mm, self.tolerance_mm)
            self._mask = turn.mask
        found = self._scores.copy()
        found["reason"] = found["reason"] or turn.reason
        return found
