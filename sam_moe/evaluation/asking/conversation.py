"""A protocol run on one system: target by target and prompt by prompt, or a whole scan without a prompt."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np

from sam_moe.errors import PromptError
from sam_moe.evaluation.asking.protocols import Script
from sam_moe.evaluation.asking.systems import AutomaticUnderTest, Reply, SystemUnderTest
from sam_moe.evaluation.asking.targets import Target
from sam_moe.evaluation.results import AUTOMATIC, Status
from sam_moe.evaluation.scoring.scores import Scores, score, worst
from sam_moe.prompts.prompt import Item
from sam_moe.prompts.simulate import Mask

log = logging.getLogger(__name__)

NO_PROMPT = "no further prompt; the answer stands"


@dataclass(frozen=True)
class AnsweredStep:
    """One step: its prompt (None: no further one), the answer as it stands after it, its status."""

    prompt: str
    step: int
    item: Item | None
    reply: Reply
    status: Status = "ok"
    reason: str = ""
    seconds: float = 0.0


def converse(system: SystemUnderTest, script: Script, target: Target) -> Iterator[AnsweredStep]:
    """Run every step of a script. Where the system fails, its mask stays, and the next click goes by that.

    Where the script has no further prompt the last turn is repeated, so that every target has every step.
    """
    items: list[Item] = []
    last = AnsweredStep("", 0, None, Reply(np.zeros_like(target.truth)), "missing", "no prompt was given")
    for step, name in enumerate(script.steps):
        try:
            item = script.item(target, items, target.judged(last.reply.mask))
        except PromptError as error:
            last = AnsweredStep(name, step, None, Reply(last.reply.mask), "missing", str(error))
        else:
            if item is None:
                reason = NO_PROMPT if last.status == "ok" else last.reason
                last = replace(last, prompt=name, step=step, item=None, reason=reason, seconds=0.0)
            else:
                items.append(item)
                last = _answered(system, tuple(items), AnsweredStep(name, step, item, Reply(last.reply.mask)))
        yield last


def segmented(system: AutomaticUnderTest, targets: Sequence[Target]) -> Iterator[AnsweredStep]:
    """Have the open scan segmented once; a step for each of its targets, which are given by name alone.

    A target made of several names is answered by their union. `seconds` are those of the whole scan, in each
    step. Where the system fails, all its steps have failed; a structure that it does not know is missing.
    """
    start = perf_counter()
    try:
        replies = system.segment([name for target in targets for name in target.names or (target.label,)])
    except Exception as error:  # whatever a system under test does wrong is its result
        log.debug("%s failed", system.id, exc_info=True)
        replies, reason = {}, failure(error)
    else:
        reason = ""
    seconds = perf_counter() - start
    for target in targets:
        nothing = Reply(np.zeros_like(target.truth))
        turn = AnsweredStep(AUTOMATIC, 0, None, nothing, "failed", reason, seconds)
        yield turn if reason else _named(system, replies, target, turn)


def _named(
    system: AutomaticUnderTest, replies: Mapping[str, Reply], target: Target, turn: AnsweredStep
) -> AnsweredStep:
    """The step of a target by what was answered under its names."""
    names = target.names or (target.label,)
    own = [replies[name] for name in names if name in replies]
    for reply in own:
        wrong = _wrong(reply, target.truth)
        if wrong is not None:
            return replace(turn, status=wrong[0], reason=wrong[1])
    if not own and system.structures.isdisjoint(names):
        return replace(turn, status="missing", reason=f"{system.id} knows no {' or '.join(names)}")
    if not own:  # known, but of another kind of scan than this was taken for
        return replace(turn, status="ok", reason=next((reply.why for reply in replies.values()), ""))
    mask = np.logical_or.reduce([reply.mask for reply in own])
    return replace(turn, reply=replace(own[0], mask=mask), status="ok", reason=own[0].why)


def failure(error: Exception) -> str:
    """An error of a system under test in one line: its class, then its words."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _answered(system: SystemUnderTest, items: Sequence[Item], turn: AnsweredStep) -> AnsweredStep:
    """The turn with its answer, or with the reason for having none."""
    start = perf_counter()
    try:
        reply = system.answer(items)
    except Exception as error:  # whatever a system under test does wrong is its result
        log.debug("%s failed", system.id, exc_info=True)
        return replace(turn, status="failed", reason=failure(error), seconds=perf_counter() - start)
    seconds = perf_counter() - start
    wrong = _wrong(reply, turn.reply.mask)
    if wrong is not None:
        status, reason = wrong
        return replace(turn, status=status, reason=reason, seconds=seconds)
    return replace(turn, reply=reply, seconds=seconds)


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

    def __call__(self, turn: AnsweredStep) -> Scores:
        """The scores of a turn's answer, the worst ones where it has none."""
        truth, spacing_mm = self.target.truth, self.target.spacing_mm
        if turn.status != "ok":
            return worst(truth, spacing_mm, turn.status, turn.reason)
        mask = turn.reply.mask
        if self._scores is None or self._mask is not mask:
            self._scores = score(truth, self.target.judged(mask), spacing_mm, self.tolerance_mm)
            self._mask = mask
        found = self._scores.copy()
        found["reason"] = "; ".join(filter(None, (found["reason"], turn.reason)))
        return found
