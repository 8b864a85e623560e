"""Systems run on the cases of a challenge: case by case, on any number of processes, resumable.

A finished case is a file; a second start on the same folder runs the others only. Processes find cases by
locks and wait for one another at the end only: each case is run once, and where a process dies another takes
its case over.
"""

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from sam_moe.evaluation.asking.casefile import CaseFile, case_path, file_name, relative, write_whole
from sam_moe.evaluation.asking.conversation import AnsweredStep, Scorer, converse, failure, segmented
from sam_moe.evaluation.asking.freshness import made_of
from sam_moe.evaluation.asking.hardware import device_of
from sam_moe.evaluation.asking.locks import claimed
from sam_moe.evaluation.asking.predictions import GivenMasks, score_given
from sam_moe.evaluation.asking.protocols import BETWEEN, Script, supported_part
from sam_moe.evaluation.asking.systems import AutomaticUnderTest, Reply, System
from sam_moe.evaluation.asking.targets import Target, targets_of
from sam_moe.evaluation.asking.unread import reason_of, unread_rows
from sam_moe.evaluation.challenge.challenge import Case, Challenge, Opened, open_case
from sam_moe.evaluation.results import GIVEN, PREDICTIONS, Row
from sam_moe.evaluation.scoring.scores import Scores
from sam_moe.files import make_folder
from sam_moe.progress import Progress
from sam_moe.prompts.prompt import Item, Prompt
from sam_moe.prompts.promptset import PromptCase
from sam_moe.prompts.simulate import Mask
from sam_moe.space.files import write_mask
from sam_moe.space.volume import Volume

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Folder:
    """Masks made elsewhere, one more system; `resample` takes those on another grid to the case's."""

    id: str
    masks: GivenMasks
    resample: bool = False


@dataclass(frozen=True)
class Work:
    """What each process does its share of.

    `only` has the patients that a slow system is run on, of systems that are not run on all; `parent` is the
    process that this one must not outlive.
    """

    challenge: Challenge
    cases: tuple[Case, ...]
    scripts: tuple[Script, ...]
    out: Path
    given: Folder | None = None
    only: Mapping[str, frozenset[str]] = field(default_factory=dict)
    parent: int | None = None

    def made_of(self, case: Case) -> str:
        """What the rows of a case come from."""
        given = self.given
        return made_of(case) if given is None else made_of(case, given.masks, given.resample)


def work_through(work: Work, systems: Sequence[System], progress: Progress) -> None:
    """Run every case without a file; return when all have one, whichever process wrote it."""
    start, before = perf_counter(), _finished(work)
    for wait in (False, True):  # at last those that others had: they are done by then, or dead
        for case in work.cases:
            path = case_path(work.out, case.id)
            if path.is_file():
                continue
            if work.parent is not None and os.getppid() != work.parent:
                return
            with claimed(path, wait=wait) as ours:
                if not ours or path.is_file():
                    continue
                finished, all_ = _finished(work), len(work.cases)
                left = _left(perf_counter() - start, finished - before, all_ - finished)
                progress(f"case {finished + 1} of {all_}: {case.id}{left}", finished / all_)
                made = work.made_of(case)  # before they are read
                write_whole(ask_case(work, case, systems).model_copy(update={"made_of": made}), path)


def ask_case(work: Work, case: Case, systems: Sequence[System]) -> CaseFile:
    """Every system's rows about one case; a case that cannot be read is a row a system and structure."""
    start = perf_counter()
    systems = [s for s in systems if case.patient in work.only.get(s.id, {case.patient})]
    try:
        opened = open_case(case)
    except Exception as error:  # a damaged file can raise whatever its bytes spell, and the others go on
        log.debug("%s cannot be read", case.id, exc_info=True)
        reason = reason_of(error)
        log.warning("%s: %s", case.id, reason)
        return CaseFile(
            case=case.id,
            rows=tuple(unread_rows(case, _steps(work, systems), reason)),
            notes=(f"{case.id}: {reason}",),
            seconds=perf_counter() - start,
            unread=True,
        )
    left_out = [name for name in case.labels if name not in opened.truths]
    notes = (f"{case.id}: left out as absent or too small: {', '.join(left_out)}",) if left_out else ()
    targets = targets_of(case, opened, work.challenge.seed)
    rows: list[Row] = []
    prompts: dict[str, PromptCase] = {}
    for system in systems:
        found = _answers_of(work, case, opened.scan, targets, system)
        rows += found.rows
        if found.prompts:
            image = relative(case.images[case.reference], work.out)
            prompts[system.id] = PromptCase.of(image, found.prompts, fingerprint=targets[0].scan)
        if found.masks:
            _save(work, case, opened.scan, system, found.masks)
    return CaseFile(
        case=case.id,
        rows=(*rows, *_given(work, case, opened)),
        prompts=prompts,
        notes=notes,
        devices={system.id: device_of(system) for system in systems},
        seconds=perf_counter() - start,
    )


def _given(work: Work, case: Case, opened: Opened) -> list[Row]:
    if work.given is None:
        return []
    file, tolerance_mm = work.given.masks.files.get(case.id), work.challenge.nsd_tolerance_mm
    return score_given(case, opened, file, work.given.id, tolerance_mm, work.given.resample)


@dataclass(frozen=True)
class _Answers:
    """One system's rows about a case; the prompts it was given and its last masks, by structure."""

    rows: list[Row] = field(default_factory=list)
    prompts: dict[str, Prompt] = field(default_factory=dict)
    masks: dict[str, Mask] = field(default_factory=dict)


def _answers_of(work: Work, case: Case, scan: Volume, targets: Sequence[Target], system: System) -> _Answers:
    """Run every protocol on every target; a scan that the system cannot open fails every step."""
    found = _Answers()
    several = sum(bool(script.kinds) for script in work.scripts) > 1
    try:
        system.open(scan)
        refusal = ""
    except Exception as error:  # as in a conversation: its failure is its result
        refusal = failure(error)
    for target, name, turns in _turns(system, supported_scripts(system, work.scripts), targets, refusal):
        items: list[Item] = []
        scorer = Scorer(target, work.challenge.nsd_tolerance_mm)
        for turn in turns:
            items += [turn.item] if turn.item is not None else []
            found.rows.append(_row(system, case, target, turn, scorer(turn)))
            if not refusal:
                found.masks[target.label] = turn.reply.mask
        if items:
            found.prompts[target.label + (BETWEEN + name) * several] = Prompt(tuple(items))
    return found


def _turns(
    system: System, scripts: Sequence[Script], targets: Sequence[Target], refusal: str
) -> Iterator[tuple[Target, str, Iterable[AnsweredStep]]]:
    """The steps of each target and protocol, with the protocol's name."""
    if isinstance(system, AutomaticUnderTest) and not refusal:
        for target, turn in zip(targets, segmented(system, targets), strict=True):
            yield target, turn.prompt, (turn,)
        return
    for target in targets:
        for script in scripts:
            if refusal or isinstance(system, AutomaticUnderTest):
                yield target, script.name, _failed(script, target, refusal)
            else:
                yield target, script.name, converse(system, script, target)


def _failed(script: Script, target: Target, reason: str) -> Iterator[AnsweredStep]:
    """Every step of a script as a failed one."""
    nothing = Reply(np.zeros_like(target.truth))
    for step, name in enumerate(script.steps):
        yield AnsweredStep(name, step, None, nothing, "failed", reason)


def _row(system: System, case: Case, target: Target, turn: AnsweredStep, scores: Scores) -> Row:
    return Row(
        system=system.id,
        case=case.id,
        patient=case.patient,
        label=target.label,
        strata=dict(case.strata),
        prompt=turn.prompt,
        step=turn.step,
        seconds=turn.seconds,
        answered=dict(turn.reply.answered),
        confidence=dict(turn.reply.confidence),
        **scores,
    )


def _save(work: Work, case: Case, scan: Volume, system: System, masks: Mapping[str, Mask]) -> None:
    """Keep the last answers in one map; where two claim a voxel, the structure named later has it."""
    folder = work.out / PREDICTIONS / file_name(system.id)
    make_folder(folder)
    names = dict(enumerate(work.challenge.labels, start=1))
    labels = torch.zeros(scan.grid.shape, dtype=torch.int32)
    for value, name in names.items():
        if name in masks:
            labels[torch.from_numpy(masks[name])] = value
    write_mask(folder / f"{file_name(case.id)}.nii.gz", labels, scan.grid, names)


def supported_scripts(system: System, scripts: Sequence[Script]) -> list[Script]:
    """The scripts as far as a system supports them; without a prompt are asked those that take none."""
    if isinstance(system, AutomaticUnderTest):
        return [script for script in scripts if not script.kinds]
    own = (supported_part(script, system.supports) for script in scripts if script.kinds)
    return [script for script in own if script is not None]


def _steps(work: Work, systems: Sequence[System]) -> dict[str, list[str]]:
    """The names of all steps of each system, by its id."""
    steps = {
        s.id: [step for script in supported_scripts(s, work.scripts) for step in script.steps]
        for s in systems
    }
    return steps if work.given is None else {**steps, work.given.id: [GIVEN]}


def _finished(work: Work) -> int:
    return sum(case_path(work.out, case.id).is_file() for case in work.cases)


def _left(seconds: float, done: int, left: int) -> str:
    """How long it may still take, by what all processes have done in these seconds."""
    minutes = seconds / done * left / 60 if done else 0.0
    return f", {minutes:.0f} min left" if minutes >= 1 else ""
