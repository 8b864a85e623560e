"""Asking systems about the cases of a challenge: case by case, on any number of processes, resumable.

A finished case is a file; whoever starts again on the same folder asks about the others only. Processes find
cases by locks and never wait for one another but at the end: each case is asked about once, and where a
process dies another takes its case over.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from sam_moe.evaluation.asking.casefile import CaseFile, case_path, file_name, relative, write_whole
from sam_moe.evaluation.asking.conversation import Scorer, Turn, converse
from sam_moe.evaluation.asking.freshness import made_of
from sam_moe.evaluation.asking.hardware import device_of
from sam_moe.evaluation.asking.locks import claimed
from sam_moe.evaluation.asking.predictions import Given, score_given
from sam_moe.evaluation.asking.protocols import BETWEEN, Script, Target, understood
from sam_moe.evaluation.asking.systems import SystemUnderTest
from sam_moe.evaluation.asking.unread import reason_of, unread_rows
from sam_moe.evaluation.challenge.challenge import Case, Challenge, Opened, open_case
from sam_moe.evaluation.results import GIVEN, PREDICTIONS, Row
from sam_moe.files import make_folder
from sam_moe.prompts.prompt import Item, Prompt
from sam_moe.prompts.promptset import PromptCase
from sam_moe.space.files import fingerprint, write_mask

log = logging.getLogger(__name__)

Tell = Callable[[str, float], None]


@dataclass(frozen=True)
class Folder:
    """Masks made elsewhere, one more system; `resample` takes those on another grid to the case's."""

    id: str
    masks: Given
    resample: bool = False


@dataclass(frozen=True)
class Work:
    """What each process does its share of.

    `only` has the patients that a slow system is asked about, of systems that are not asked about all;
    `parent` is the process that this one must not outlive.
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


def work_through(work: Work, systems: Sequence[SystemUnderTest], tell: Tell) -> None:
    """Ask about every case that nobody has asked about; return when all are finished, by whomever."""
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
                tell(f"case {finished + 1} of {all_}: {case.id}{left}", finished / all_)
                made = work.made_of(case)  # before they are read
                write_whole(ask_case(work, case, systems).model_copy(update={"made_of": made}), path)


def ask_case(work: Work, case: Case, systems: Sequence[SystemUnderTest]) -> CaseFile:
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
            rows=tuple(unread_rows(case, _asked(work, systems), reason)),
            notes=(f"{case.id}: {reason}",),
            seconds=perf_counter() - start,
            unread=True,
        )
    left_out = [name for name in case.labels if name not in opened.truths]
    notes = (f"{case.id}: left out as absent or too small: {', '.join(left_out)}",) if left_out else ()
    found = _Found(work, case, opened)
    for system in systems:
        found.ask(system)
    return CaseFile(
        case=case.id,
        rows=(*found.rows, *_given(work, case, opened)),
        prompts=found.prompts,
        notes=notes,
        devices={system.id: device_of(system) for system in systems},
        seconds=perf_counter() - start,
    )


def _given(work: Work, case: Case, opened: Opened) -> list[Row]:
    if work.given is None:
        return []
    file, tolerance_mm = work.given.masks.files.get(case.id), work.challenge.nsd_tolerance_mm
    return score_given(case, opened, file, work.given.id, tolerance_mm, work.given.resample)


class _Found:
    """One case being asked about: its rows, and what was said."""

    def __init__(self, work: Work, case: Case, opened: Opened) -> None:
        self.work, self.case, self.scan = work, case, opened.scan
        self.key = fingerprint(self.scan)
        self.targets = [
            Target(
                case.id,
                label,
                np.asarray(truth.array.numpy().astype(bool)),
                self.scan.grid.spacing_mm,
                self.key,
                work.challenge.seed,
                opened.ignored,
            )
            for label, truth in opened.truths.items()
        ]
        self.rows: list[Row] = []
        self.prompts: dict[str, PromptCase] = {}

    def ask(self, system: SystemUnderTest) -> None:
        """Everything, of one system."""
        try:
            system.open(self.scan)
        except Exception as error:  # as in a conversation: its failure is its result
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            self.rows += self._closed(system, reason)
            return
        said: dict[str, Prompt] = {}
        masks: dict[str, np.ndarray] = {}
        for target in self.targets:
            scorer = Scorer(target, self.work.challenge.nsd_tolerance_mm)
            for script in heard(system, self.work.scripts):
                items: list[Item] = []
                for turn in converse(system, script, target):
                    items += [turn.said] if turn.said is not None else []
                    self.rows.append(self._row(system, target, turn, scorer))
                    masks[target.label] = turn.mask
                if items:
                    several = len(self.work.scripts) > 1
                    said[target.label + (BETWEEN + script.name) * several] = Prompt(tuple(items))
        if said:
            image = relative(self.case.images[self.case.reference], self.work.out)
            self.prompts[system.id] = PromptCase.of(image, said, fingerprint=self.key)
        if masks:
            self._save(system, masks)

    def _row(self, system: SystemUnderTest, target: Target, turn: Turn, scorer: Scorer) -> Row:
        return Row(
            system=system.id,
            case=self.case.id,
            patient=self.case.patient,
            label=target.label,
            strata=dict(self.case.strata),
            prompt=turn.prompt,
            step=turn.step,
            seconds=turn.seconds,
            answered=dict(turn.answered),
            confidence=dict(turn.confidence),
            **scorer(turn),
        )

    def _closed(self, system: SystemUnderTest, reason: str) -> Iterator[Row]:
        """The rows of a system that could not take up the scan."""
        nothing = np.zeros(self.scan.grid.shape, bool)
        for target in self.targets:
            scorer = Scorer(target, self.work.challenge.nsd_tolerance_mm)
            for script in heard(system, self.work.scripts):
                for step, name in enumerate(script.steps):
                    yield self._row(system, target, Turn(name, step, None, nothing, "failed", reason), scorer)

    def _save(self, system: SystemUnderTest, masks: dict[str, np.ndarray]) -> None:
        """Keep the last answers in one map; where two claim a voxel, the structure named later has it."""
        folder = self.work.out / PREDICTIONS / file_name(system.id)
        make_folder(folder)
        names = dict(enumerate(self.work.challenge.labels, start=1))
        labels = torch.zeros(self.scan.grid.shape, dtype=torch.int32)
        for value, name in names.items():
            if name in masks:
                labels[torch.from_numpy(masks[name])] = value
        write_mask(folder / f"{file_name(self.case.id)}.nii.gz", labels, self.scan.grid, names)


def heard(system: SystemUnderTest, scripts: Sequence[Script]) -> list[Script]:
    """The scripts as far as a system understands them."""
    own = (understood(script, system.hears) for script in scripts)
    return [script for script in own if script is not None]


def _asked(work: Work, systems: Sequence[SystemUnderTest]) -> dict[str, list[str]]:
    """The names of all steps that each system is asked, by its id."""
    asked = {s.id: [step for script in heard(s, work.scripts) for step in script.steps] for s in systems}
    return asked if work.given is None else {**asked, work.given.id: [GIVEN]}


def _finished(work: Work) -> int:
    return sum(case_path(work.out, case.id).is_file() for case in work.cases)


def _left(seconds: float, done: int, left: int) -> str:
    """How long it may still take, by what all processes have done in these seconds."""
    minutes = seconds / done * left / 60 if done else 0.0
    return f", {minutes:.0f} min left" if minutes >= 1 else ""
