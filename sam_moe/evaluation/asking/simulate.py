"""A prompt file for a challenge, so that other systems can be given the same clicks."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import JsonValue

from sam_moe.errors import ConfigError, FileError, SamMoeError
from sam_moe.evaluation.asking.casefile import relative
from sam_moe.evaluation.asking.conversation import converse
from sam_moe.evaluation.asking.protocols import BETWEEN, Simulated
from sam_moe.evaluation.asking.steps import ALL, Kind
from sam_moe.evaluation.asking.systems import Reply, SystemUnderTest
from sam_moe.evaluation.asking.targets import targets_of
from sam_moe.evaluation.asking.unread import reason_of
from sam_moe.evaluation.challenge.challenge import Challenge, cases_of, open_case
from sam_moe.files import check_writable
from sam_moe.progress import Progress
from sam_moe.prompts.prompt import Item, Prompt
from sam_moe.prompts.promptset import PromptCase, PromptSet
from sam_moe.space.volume import Volume

log = logging.getLogger(__name__)


class EmptyMasks:
    """A system of empty masks: enough where one prompt is given, whatever is answered."""

    id = "empty masks"
    supports: frozenset[Kind] = ALL

    def open(self, scan: Volume) -> None:
        """Take up a scan."""
        self._nothing = np.zeros(scan.grid.shape, bool)

    def answer(self, items: Sequence[Item]) -> Reply:
        """An empty mask."""
        return Reply(self._nothing)

    def describe(self) -> dict[str, JsonValue]:
        """Nothing to note."""
        return {}


def needs_answers(scripts: Sequence[Simulated]) -> bool:
    """Whether prompts depend on answers: those after the first do."""
    return any(len(script.steps) > 1 for script in scripts)


def simulate(
    challenge: Challenge,
    scripts: Sequence[Simulated],
    out: Path,
    system: SystemUnderTest | None,
    progress: Progress,
) -> PromptSet:
    """A simulated user's prompts for every target, at the errors of `system` where there are several steps.

    Raises:
        ConfigError: for several steps and no system, or a protocol without prompts.
        FileError: where `out` cannot be written, before the work.
        SamMoeError: where no case can be read, for the first reason. Of several the others go on without one
            that cannot be read, with a warning.
    """
    check_writable(out.parent)
    if without := [script.name for script in scripts if not script.kinds]:
        raise ConfigError(
            f"the protocol {without[0]} has no prompts. Expected such as have some: clicks, box."
        )
    if system is None and needs_answers(scripts):
        raise ConfigError(
            f"the protocol {', '.join(s.name for s in scripts)} clicks where an answer errs. Expected "
            "a system that answers; give --system ID."
        )
    answering: SystemUnderTest = EmptyMasks() if system is None else system
    cases = cases_of(challenge)
    recorded: list[PromptCase] = []
    unread: list[SamMoeError] = []
    for number, case in enumerate(cases):
        progress(f"case {number + 1} of {len(cases)}: {case.id}", number / len(cases))
        try:
            opened = open_case(case)
        except Exception as error:  # a damaged file can raise whatever its bytes spell
            log.warning("%s: left out, it cannot be read: %s", case.id, reason_of(error))
            unread.append(error if isinstance(error, SamMoeError) else FileError(reason_of(error)))
            continue
        answering.open(opened.scan)
        targets, prompts = targets_of(case, opened, challenge.seed), dict[str, Prompt]()
        for target in targets:
            for script in scripts:
                items = [turn.item for turn in converse(answering, script, target) if turn.item is not None]
                prompts[target.label + (BETWEEN + script.name) * (len(scripts) > 1)] = Prompt(tuple(items))
        if prompts:
            image = relative(case.images[case.reference], out.parent)
            recorded.append(PromptCase.of(image, prompts, fingerprint=targets[0].scan))
    if len(unread) == len(cases):
        raise unread[0]
    to = f", given to {system.id}" if system is not None else ""
    return PromptSet(
        name=",".join(script.name for script in scripts),
        description=f"{challenge.name}{to}; seed {challenge.seed}.",
        cases=tuple(recorded),
    )
