"""A prompt file for a challenge, so that systems can be given the very same clicks."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import JsonValue

from sam_moe.errors import ConfigError, FileError, SamMoeError
from sam_moe.evaluation.asking.casefile import relative
from sam_moe.evaluation.asking.conversation import converse
from sam_moe.evaluation.asking.protocols import BETWEEN, Simulated, Target
from sam_moe.evaluation.asking.runner import Tell
from sam_moe.evaluation.asking.steps import ALL, Kind
from sam_moe.evaluation.asking.systems import Reply, SystemUnderTest
from sam_moe.evaluation.asking.unread import reason_of
from sam_moe.evaluation.challenge.challenge import Challenge, cases_of, open_case
from sam_moe.files import check_writable
from sam_moe.prompts.prompt import Item, Prompt
from sam_moe.prompts.promptset import PromptCase, PromptSet
from sam_moe.space.files import fingerprint
from sam_moe.space.volume import Volume

log = logging.getLogger(__name__)


class Nobody:
    """Answers nothing at all; enough where one thing is said."""

    id = "nobody"
    hears: frozenset[Kind] = ALL

    def open(self, scan: Volume) -> None:
        """Take up a scan."""
        self._nothing = np.zeros(scan.grid.shape, bool)

    def answer(self, said: Sequence[Item]) -> Reply:
        """An empty mask."""
        return Reply(self._nothing)

    def describe(self) -> dict[str, JsonValue]:
        """Nothing to note."""
        return {}


def needs_somebody(scripts: Sequence[Simulated]) -> bool:
    """Whether what is said depends on answers."""
    return any(len(script.steps) > 1 for script in scripts)


def simulate(
    challenge: Challenge,
    scripts: Sequence[Simulated],
    out: Path,
    system: SystemUnderTest | None,
    tell: Tell,
) -> PromptSet:
    """What a simulated user says about every target, to the errors of `system` where there are several steps.

    Raises:
        ConfigError: for several steps and nobody who answers.
        FileError: where `out` cannot be written, before anything is asked.
        SamMoeError: where no case can be read, for the first reason. Of several the others go on without one
            that cannot be read, with a warning.
    """
    check_writable(out.parent)
    if system is None and needs_somebody(scripts):
        raise ConfigError(
            f"the protocol {', '.join(s.name for s in scripts)} clicks where an answer errs. Expected "
            "somebody who answers; give --system ID."
        )
    answering: SystemUnderTest = Nobody() if system is None else system
    cases = cases_of(challenge)
    recorded: list[PromptCase] = []
    unread: list[SamMoeError] = []
    for number, case in enumerate(cases):
        tell(f"case {number + 1} of {len(cases)}: {case.id}", number / len(cases))
        try:
            opened = open_case(case)
        except Exception as error:  # a damaged file can raise whatever its bytes spell
            log.warning("%s: left out, it cannot be read: %s", case.id, reason_of(error))
            unread.append(error if isinstance(error, SamMoeError) else FileError(reason_of(error)))
            continue
        scan, truths = opened.scan, opened.truths
        answering.open(scan)
        key, said = fingerprint(scan), dict[str, Prompt]()
        for label, truth in truths.items():
            mask = np.asarray(truth.array.numpy().astype(bool))
            target = Target(case.id, label, mask, scan.grid.spacing_mm, key, challenge.seed, opened.ignored)
            for script in scripts:
                items = [turn.said for turn in converse(answering, script, target) if turn.said is not None]
                said[label + (BETWEEN + script.name) * (len(scripts) > 1)] = Prompt(tuple(items))
        if said:
            image = relative(case.images[case.reference], out.parent)
            recorded.append(PromptCase.of(image, said, fingerprint=key))
    if len(unread) == len(cases):
        raise unread[0]
    to = f", said to {system.id}" if system is not None else ""
    return PromptSet(
        name=",".join(script.name for script in scripts),
        description=f"{challenge.name}{to}; seed {challenge.seed}.",
        cases=tuple(recorded),
    )
