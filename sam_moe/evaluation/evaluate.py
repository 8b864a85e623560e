"""An evaluation from challenge and systems to the result folder, on one process or several."""

import logging
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from accelerate import PartialState
from pydantic import JsonValue

from sam_moe.config import write_json
from sam_moe.errors import ConfigError
from sam_moe.evaluation.asked import SystemUnderTest
from sam_moe.evaluation.casefile import Asked, CaseFile, begin, case_path, file_name, read_casefile
from sam_moe.evaluation.challenge import Case, Challenge, cases_of
from sam_moe.evaluation.changed import forget_changed
from sam_moe.evaluation.interactive import DEFINITIONS, interactive
from sam_moe.evaluation.locks import check_several, clear
from sam_moe.evaluation.metrics import definitions
from sam_moe.evaluation.official import definitions as official_definitions
from sam_moe.evaluation.predictions import checksum, extra_rows, match
from sam_moe.evaluation.protocols import Script
from sam_moe.evaluation.report import write_report
from sam_moe.evaluation.report_cases import kept
from sam_moe.evaluation.results import (
    CASES,
    PREDICTIONS,
    PROMPTS,
    REPORT,
    RESULT,
    ROWS,
    Result,
    ResultFolder,
    Row,
    read_result,
    write_result,
)
from sam_moe.evaluation.runner import Folder, Tell, Work, heard, work_through
from sam_moe.evaluation.summary import summarise
from sam_moe.evaluation.unread import DEFINITIONS as UNREAD
from sam_moe.predict.manifest import machine, versions
from sam_moe.prompts.promptset import PromptCase, PromptSet

log = logging.getLogger(__name__)

PACKAGES = ("torch", "numpy", "scipy", "monai", "nibabel", "SimpleITK", "safetensors")

MakeSystems = Callable[[], Sequence[SystemUnderTest]]


@dataclass(frozen=True)
class Request:
    """What was asked: by which scripts, into which folder, on how many processes of this machine.

    `prompts` is the checksum of a file of recorded prompts, where the scripts come from one. `predictions` is
    a folder of masks made elsewhere, `resample` whether those on another grid are taken to the case's.
    `only`: of systems too slow to be asked about all patients, those that they are asked about.
    """

    challenge: Challenge
    scripts: tuple[Script, ...]
    out: Path
    processes: int = 1
    save_masks: bool = False
    prompts: str = ""
    predictions: Path | None = None
    resample: bool = False
    only: Mapping[str, frozenset[str]] = field(default_factory=dict)
    command: tuple[str, ...] = ()


def evaluate(request: Request, make_systems: MakeSystems, tell: Tell) -> ResultFolder | None:
    """Ask every system about every case that its folder lacks, then write rows, record and report.

    `make_systems` is called in every process, and must be a function that another process can import. Under
    `accelerate launch` the launcher's processes share the cases, and only the first returns the result.

    Raises:
        SamMoeError: for what is wrong with the request; what goes wrong with a case is a row.
    """
    start = perf_counter()
    rank, launched = _launched()
    processes = launched if launched > 1 else request.processes
    check_several(processes)
    if processes > 1:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // processes))
    cases = cases_of(request.challenge)
    tell("loading the systems", 0.0)
    systems = tuple(make_systems())
    notes = _not_asked(request, cases, systems)
    given = _given(request, cases, systems)
    described = _described(systems, given)
    begin(request.out, _asked(request, described, given))
    work = Work(request.challenge, cases, request.scripts, request.out, given, request.only)
    forget_changed(request.out, {case.id: work.made_of(case) for case in cases})
    before = [case for case in cases if case_path(request.out, case.id).is_file()]
    with _others(work, make_systems, 0 if launched > 1 else request.processes - 1):
        work_through(work, systems, tell)
    if rank > 0:
        return None
    tell("writing the result", 0.99)
    finished = [read_casefile(case_path(request.out, case.id)) for case in cases]
    seconds = perf_counter() - start
    if before:
        notes.append(f"{len(before)} of {len(cases)} cases were there from an earlier start of this run.")
        seconds += sum(file.seconds for file in finished if file.case in {case.id for case in before})
    if given is not None:
        notes.append(f"{given.id}: masks made elsewhere" + ", resampled where need be." * given.resample)
    done = all((request.out / name).is_file() for name in (ROWS, RESULT, REPORT))
    if done and len(before) == len(cases):
        log.info("%s is finished; remove its %s to have it written again", request.out, REPORT)
        return read_result(request.out)
    return _finish(request, cases, described, finished, given, notes, seconds, processes)


def _finish(
    request: Request,
    cases: Sequence[Case],
    systems: dict[str, dict[str, JsonValue]],
    finished: Sequence[CaseFile],
    given: Folder | None,
    notes: Sequence[str],
    seconds: float,
    processes: int,
) -> ResultFolder:
    """Write the result of finished cases; `seconds` are those of the whole run."""
    rows = [row for id in systems for file in finished for row in file.rows if row.system == id]
    if given is not None:
        rows += extra_rows(given.masks, given.id)
    said = {id: [file.prompts[id] for file in finished if id in file.prompts] for id in systems}
    _write_prompts(request, {id: cases for id, cases in said.items() if cases})
    notes = [*notes, *dict.fromkeys(note for file in finished for note in file.notes)]
    result = result_of(
        request.challenge,
        rows,
        protocol={script.name: getattr(script, "description", "recorded") for script in request.scripts},
        systems=systems,
        command=request.command,
        notes=notes,
        seconds=seconds,
        processes=processes,
    )
    write_result(request.out, rows, result)
    write_report(request.out, kept(request.out, cases))
    if not request.save_masks:
        shutil.rmtree(request.out / PREDICTIONS, ignore_errors=True)
    clear(request.out / CASES)
    return ResultFolder(request.out, tuple(rows), result)


def result_of(
    challenge: Challenge,
    rows: Sequence[Row],
    *,
    protocol: JsonValue,
    systems: dict[str, dict[str, JsonValue]],
    command: Sequence[str],
    notes: Sequence[str],
    seconds: float,
    processes: int = 1,
) -> Result:
    """The record of an evaluation: all that was asked and what came of it, definitions and versions too."""
    found: dict[str, Any] = {
        "challenge": challenge.model_dump(mode="json"),
        "protocol": protocol,
        "definitions": definitions(challenge.nsd_tolerance_mm)
        | official_definitions()
        | {**DEFINITIONS, **UNREAD},
        "systems": systems,
        "versions": versions(PACKAGES),
        "hardware": _hardware(processes),
        "command": list(command),
        "seconds": round(seconds, 1),
        "summary": summarise(rows),
        "interactive": interactive(rows),
        "notes": tuple(notes),
    }
    return Result(**found)


def _given(request: Request, cases: Sequence[Case], systems: Sequence[SystemUnderTest]) -> Folder | None:
    if request.predictions is None:
        if not systems:
            raise ConfigError("nobody to ask. Expected a system, by its id, or a folder of predictions.")
        return None
    id = request.predictions.resolve().name
    if any(system.id == id for system in systems):
        raise ConfigError(f"the folder of predictions and a system are both called {id}. Rename the folder.")
    return Folder(id, match(cases, request.predictions), request.resample)


def _described(systems: Sequence[SystemUnderTest], given: Folder | None) -> dict[str, dict[str, JsonValue]]:
    described = {system.id: system.describe() for system in systems}
    if given is not None:
        title = "masks made elsewhere" + ", resampled where need be" * given.resample
        described[given.id] = {"id": given.id, "title": title, "sha256": checksum(given.masks)}
    return described


def _asked(request: Request, systems: dict[str, dict[str, JsonValue]], given: Folder | None) -> Asked:
    """What must stay as it is; masks made elsewhere may change, case by case (`changed.made_of`)."""
    if given is not None:
        systems = {**systems, given.id: {"id": given.id}}
    return Asked(
        challenge=request.challenge.model_dump(mode="json"),
        protocols=tuple(script.name for script in request.scripts),
        prompts=request.prompts,
        systems=systems,
        only={id: tuple(sorted(patients)) for id, patients in request.only.items()},
    )


def _not_asked(request: Request, cases: Sequence[Case], systems: Sequence[SystemUnderTest]) -> list[str]:
    """What is not asked of whom, in words.

    Raises:
        ConfigError: where nothing at all can be asked of a system, or two have one id.
    """
    ids = [system.id for system in systems]
    if len(set(ids)) < len(ids):
        raise ConfigError(f"systems: {', '.join(ids)}. Expected each with an id of its own.")
    notes = []
    for system in systems:
        own = {script.name: script for script in heard(system, request.scripts)}
        if not own:
            said = " and ".join(sorted(system.hears))
            raise ConfigError(f"{system.id} understands {said} only, and no protocol is made of these alone.")
        for script in request.scripts:
            if script.name not in own:
                notes.append(f"{system.id} was not asked by {script.name}, which it does not understand.")
            elif len(own[script.name].steps) < len(script.steps):
                steps = ", ".join(own[script.name].steps)
                notes.append(f"{system.id} was asked only {steps} of {script.name}; it understands no more.")
        if system.id in request.only:
            patients = {case.patient for case in cases}
            count = len(patients & request.only[system.id])
            notes.append(
                f"{system.id} was asked about {count} of {len(patients)} patients only, as it is slow: its "
                "means are over other targets than the others'."
            )
    return notes


def _write_prompts(request: Request, said: dict[str, list[PromptCase]]) -> None:
    """One file where there is one system, else one a system: clicks follow each one's own answers."""
    name = ",".join(script.name for script in request.scripts)
    for id, cases in said.items():
        path, up = request.out / PROMPTS, ""
        if len(said) > 1:
            path, up = request.out / "prompts" / f"{file_name(id)}.json", "../"
            path.parent.mkdir(exist_ok=True)
        moved = tuple(case.model_copy(update={"image": up + case.image}) for case in cases)
        text = f"{request.challenge.name}, as said to {id}; seed {request.challenge.seed}."
        write_json(PromptSet(name=name, description=text, cases=moved), path)


def _launched() -> tuple[int, int]:
    """Which of a launcher's processes this is, and of how many."""
    state = PartialState(cpu=not torch.accelerator.is_available())
    return state.process_index, state.num_processes


@contextmanager
def _others(work: Work, make_systems: MakeSystems, count: int) -> Iterator[None]:
    """So many processes more on the same work; when the block ends, it is all done."""
    context = multiprocessing.get_context("spawn")
    given = (replace(work, parent=os.getpid()), make_systems, torch.get_num_threads())
    others = [context.Process(target=_work, args=given, daemon=True) for _ in range(count)]
    for other in others:
        other.start()
    try:
        yield
        for other in others:
            other.join()
    finally:
        for other in others:
            other.terminate()


def _work(work: Work, make_systems: MakeSystems, threads: int) -> None:
    torch.set_num_threads(threads)
    work_through(work, tuple(make_systems()), lambda stage, share: None)


def _hardware(processes: int) -> dict[str, JsonValue]:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    here = machine(device)
    return {
        "system": here.system,
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "cores": os.cpu_count(),
        "processes": processes,
        "threads": here.threads,
    }
