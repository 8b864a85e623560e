"""An evaluation from challenge and systems to the result folder, on one process or several."""

import logging
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from pydantic import JsonValue

from sam_moe.errors import ConfigError
from sam_moe.evaluation.asking.casefile import Setup, begin, case_path
from sam_moe.evaluation.asking.freshness import changed
from sam_moe.evaluation.asking.locks import check_several, claimed
from sam_moe.evaluation.asking.predictions import checksum, match
from sam_moe.evaluation.asking.protocols import SIMULATED
from sam_moe.evaluation.asking.runner import Folder, Work, supported_scripts, work_through
from sam_moe.evaluation.asking.systems import AutomaticUnderTest, System
from sam_moe.evaluation.challenge.challenge import Case, cases_of
from sam_moe.evaluation.derived import forget, tidy, withdraw_result
from sam_moe.evaluation.finishing import EvaluationRequest, Finishing
from sam_moe.evaluation.results import (
    AUTOMATIC,
    CASES,
    REPORT,
    ResultFolder,
)
from sam_moe.files import check_writable
from sam_moe.processes import join, share_threads, threads, use_threads
from sam_moe.progress import Progress, silent

log = logging.getLogger(__name__)

RESULT_LOCK = "result"  # no case file is called so: those end in .json

MakeSystems = Callable[[], Sequence[System]]


def evaluate(
    request: EvaluationRequest, make_systems: MakeSystems, progress: Progress
) -> ResultFolder | None:
    """Run every system on every case that its folder lacks, then write rows, record and report.

    Systems that take no prompts are run without one, whether or not the request has that protocol.

    `make_systems` is called in every process, and must be a function that another process can import. Under
    `accelerate launch` the launcher's processes share the cases, and only the first returns the result.

    Raises:
        SamMoeError: for what is wrong with the request; what goes wrong with a case is a row.
    """
    start = perf_counter()
    rank, launched = _launched()
    processes = launched if launched > 1 else request.processes
    if not (request.out / REPORT).is_file():  # before the work, not after it
        check_writable(request.out)
    share_threads(None if launched > 1 else processes)
    cases = cases_of(request.challenge)
    progress("loading the systems", 0.0)
    systems = tuple(make_systems())
    request = _with_unprompted(request, systems)
    notes = _left_out(request, cases, systems)
    given = _given(request, cases, systems)
    described = _described(systems, given)
    begin(request.out, _setup(request, described, given))
    check_several(processes, request.out / CASES)
    work = Work(request.challenge, cases, request.scripts, request.out, given, request.only)
    before = _prepare(work)
    run = Finishing(request, work, described, processes)
    if rank == 0 and len(before) == len(cases) and (found := run.standing()) is not None:
        kept = found.result.masks or request.save_masks
        tidy(request.out, finished=True, passing=() if kept else described)
        if request.save_masks and not found.result.masks:
            log.warning(
                "%s is finished and kept no masks; to have them, remove its folder %s", request.out, CASES
            )
        log.info("%s is finished; remove its %s to have it written again", request.out, REPORT)
        return found
    with _others(work, make_systems, 0 if launched > 1 else request.processes - 1):
        work_through(work, systems, progress)
    if rank > 0:
        return None
    progress("writing the result", 0.99)
    with claimed(request.out / CASES / RESULT_LOCK, wait=True):
        found = run.finish(before, notes, perf_counter() - start)
    tidy(request.out, finished=True)
    return found


def _prepare(work: Work) -> frozenset[str]:
    """Forget the cases whose files changed, and before them every figure of theirs; gives the rest."""
    out = work.out
    with _when_writable(out):
        tidy(out, finished=False)
        finished = [case for case in work.cases if case_path(out, case.id).is_file()]
        gone = changed(out, {case.id: work.made_of(case) for case in finished})
        there = {case.id for case in finished}
        if gone or len(there) < len(work.cases):
            check_writable(out / CASES)
            withdraw_result(out)
            forget(out, gone)
    return frozenset(there - set(gone))


@contextmanager
def _when_writable(out: Path) -> Iterator[None]:
    """The lock that no result is written under meanwhile; none where nothing can be written."""
    if not os.access(out / CASES, os.W_OK):
        yield
        return
    with claimed(out / CASES / RESULT_LOCK, wait=True):
        yield


def _with_unprompted(request: EvaluationRequest, systems: Sequence[System]) -> EvaluationRequest:
    """The request with the protocol of systems that take no prompts, where there are such systems."""
    automatic = any(isinstance(system, AutomaticUnderTest) for system in systems)
    if not automatic or not all(script.kinds for script in request.scripts):
        return request
    return replace(request, scripts=(SIMULATED[AUTOMATIC], *request.scripts))


def _given(request: EvaluationRequest, cases: Sequence[Case], systems: Sequence[System]) -> Folder | None:
    if request.predictions is None:
        if not systems:
            raise ConfigError("no system. Expected one, by its id, or a folder of predictions.")
        return None
    id = request.predictions.resolve().name
    if any(system.id == id for system in systems):
        raise ConfigError(f"the folder of predictions and a system are both called {id}. Rename the folder.")
    return Folder(id, match(cases, request.predictions), request.resample)


def _described(systems: Sequence[System], given: Folder | None) -> dict[str, dict[str, JsonValue]]:
    described = {system.id: system.describe() for system in systems}
    if given is not None:
        title = "masks made elsewhere" + ", resampled where need be" * given.resample
        described[given.id] = {"id": given.id, "title": title, "sha256": checksum(given.masks)}
    return described


def _setup(
    request: EvaluationRequest, systems: dict[str, dict[str, JsonValue]], given: Folder | None
) -> Setup:
    """What must stay as it is; masks made elsewhere may change, case by case (`changed.made_of`)."""
    if given is not None:
        systems = {**systems, given.id: {"id": given.id}}
    return Setup(
        challenge=request.challenge.model_dump(mode="json"),
        protocols=tuple(script.name for script in request.scripts),
        prompts=request.prompts,
        systems=systems,
        only={id: tuple(sorted(patients)) for id, patients in request.only.items()},
    )


def _left_out(request: EvaluationRequest, cases: Sequence[Case], systems: Sequence[System]) -> list[str]:
    """The protocols and patients that a system is not run on, in words.

    Raises:
        ConfigError: where a system supports no protocol, or two have one id.
    """
    ids = [system.id for system in systems]
    if len(set(ids)) < len(ids):
        raise ConfigError(f"systems: {', '.join(ids)}. Expected each with an id of its own.")
    notes = []
    for system in systems:
        own = {script.name: script for script in supported_scripts(system, request.scripts)}
        if not own:
            assert not isinstance(system, AutomaticUnderTest), "its protocol is always there"
            kinds = " and ".join(sorted(system.supports))
            raise ConfigError(f"{system.id} supports {kinds} only, and no protocol is made of these alone.")
        for script in request.scripts:
            if bool(script.kinds) == isinstance(system, AutomaticUnderTest):
                continue  # those that take prompts are asked by prompts, the others are not
            if script.name not in own:
                notes.append(f"{system.id} was not prompted by {script.name}, which it does not support.")
            elif len(own[script.name].steps) < len(script.steps):
                steps = ", ".join(own[script.name].steps)
                notes.append(
                    f"{system.id} was prompted by {steps} of {script.name} only; it supports no more."
                )
        if system.id in request.only:
            patients = {case.patient for case in cases}
            count = len(patients & request.only[system.id])
            notes.append(
                f"{system.id} was run on {count} of {len(patients)} patients only, as it is slow: its "
                "means are over other targets than the others'."
            )
    return notes


def _launched() -> tuple[int, int]:
    """Which of a launcher's processes this is, and of how many."""
    state = join()
    return state.process_index, state.num_processes


@contextmanager
def _others(work: Work, make_systems: MakeSystems, count: int) -> Iterator[None]:
    """So many processes more on the same work; when the block ends, it is all done."""
    context = multiprocessing.get_context("spawn")
    given = (replace(work, parent=os.getpid()), make_systems, threads())
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


def _work(work: Work, make_systems: MakeSystems, count: int) -> None:
    use_threads(count)
    work_through(work, tuple(make_systems()), silent)
