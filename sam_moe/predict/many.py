"""Many scans in one run of `sam-moe predict`: each once, whatever fails or was finished before."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from sam_moe.config import read_json
from sam_moe.errors import FileError, PromptError, SamMoeError
from sam_moe.predict.command import Done, Loaded, Request, Taken, Tell, answer, check, take, write
from sam_moe.predict.manifest import Manifest, ModelRecord, beside, read_prompts
from sam_moe.predict.overlap import overlapped
from sam_moe.predict.processes import Processes
from sam_moe.prompts.promptset import PromptCase

log = logging.getLogger(__name__)

SUFFIX = ".nii.gz"
_SCANS = (".nii.gz", ".nii", ".nrrd", ".mha", ".dcm", ".ima")


@dataclass(frozen=True)
class CaseReport:
    """What became of one scan: segmented now, finished in an earlier run, or failed and why."""

    image: str
    state: Literal["done", "finished before", "failed"]
    mask: str
    text: str


@dataclass(frozen=True)
class Report:
    """What became of all scans, in all processes."""

    cases: tuple[CaseReport, ...]
    seconds: float

    @property
    def failed(self) -> tuple[CaseReport, ...]:
        """Those that have no mask."""
        return tuple(case for case in self.cases if case.state == "failed")

    def __str__(self) -> str:
        states = Counter(case.state for case in self.cases)
        pace = 60 * states["done"] / max(self.seconds, 1e-3)
        told = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        return f"{len(self.cases)} scans: {told}; {self.seconds:.1f} s, {pace:.0f} a minute"

    def as_json(self) -> dict[str, Any]:
        """The same for machines."""
        return {"seconds": round(self.seconds, 3), "cases": [vars(case) for case in self.cases]}


def requests(scans: Path, prompts: Path, out: Path, command: tuple[str, ...] = ()) -> list[Request]:
    """One request for each case of a prompt file; masks lie in `out` as their scans lie beside each other.

    A scan is looked for in `scans` under the name that the file gives it, then beside the file.

    Raises:
        PromptError: for a bad prompt file, or where two cases would write the same mask.
    """
    if out.exists() and not out.is_dir():
        raise FileError(
            f"{out}: is a file. Expected a folder for the masks of many scans; choose another name."
        )
    found = []
    for case in read_prompts(prompts).cases:
        here = scans / case.image
        scan = here if here.exists() else prompts.parent / case.image
        found.append(Request(scan, out / _mask_name(case), None, prompts, None, command, case))
    twice = [name for name, count in Counter(request.out for request in found).items() if count > 1]
    if twice:
        raise PromptError(
            f"{prompts}: two cases would write {twice[0]}. Expected one case a scan; join their targets, or "
            "put them into two files and write to two folders."
        )
    return found


def _mask_name(case: PromptCase) -> Path:
    """The image's own path below its prompt file, whatever led up and out of there, with a mask's suffix."""
    *folders, name = [part for part in PurePosixPath(case.image).parts if part not in ("..", ".")]
    for suffix in _SCANS:
        if name.lower().endswith(suffix):
            name = name[: -len(suffix)]
            break
    return Path(*folders, name + SUFFIX)


def run_many(
    asked: list[Request], load: Callable[[], Loaded], tell: Tell, say: Callable[[CaseReport], None]
) -> Report:
    """Segment all scans, in as many processes as were launched; `say` hears of each as it ends.

    A scan whose run record answers the same prompts by the same model is not done again; one that fails is
    reported and stops no other.
    """
    start = time.perf_counter()
    processes = Processes()
    tell("loading the model", 0.0)
    loaded = load()
    model = loaded.record()
    sizes = [0.0 if finished(request, model) else _size(request.scan) for request in asked]
    mine = processes.share(asked, sizes)
    left: list[Request] = []
    reports: list[CaseReport] = []
    for request in mine:
        if finished(request, model):
            reports.append(_report(request, "finished before", ""))
        else:
            left.append(request)

    def read(request: Request) -> Taken:
        request.out.parent.mkdir(parents=True, exist_ok=True)
        return take(check(request))

    def quiet(stage: str, share: float) -> None:
        """Stages of single scans overlap: nobody could follow them."""

    tell("segmenting", 0.0)
    outcomes = overlapped(
        left, read, lambda taken: answer(loaded, taken, quiet), lambda made: _brief(write(made, quiet))
    )
    for number, outcome in enumerate(outcomes, start=1):
        if outcome.error is None:
            report = _report(outcome.item, "done", outcome.result or "")
        else:
            report = _report(outcome.item, "failed", _reason(outcome.error))
            log.debug("%s failed", outcome.item.scan, exc_info=outcome.error)
        reports.append(report)
        say(report)
        tell("segmenting", number / len(left))
    return Report(tuple(processes.gather(reports)), time.perf_counter() - start)


def finished(request: Request, model: ModelRecord) -> bool:
    """Whether a run record says that this model answered these prompts, and the mask is there.

    A scan that was replaced since is not noticed: remove the record to ask again.
    """
    record, case = beside(request.out), request.said()
    if case is None or not (record.is_file() and request.out.is_file()):
        return False
    try:
        manifest = read_json(Manifest, record, FileError)
    except FileError as error:
        log.warning("%s; the scan is segmented again", error)
        return False
    return manifest.model == model and _said(manifest.prompts.cases[0]) == _said(case)


def _said(case: PromptCase) -> Mapping[str, object]:
    return {target.name: (target.label, case.prompt(target)) for target in case.targets}


def _brief(done: Done) -> str:
    """What was found, in one line: the masks themselves are not kept."""
    return "; ".join(f"{name} {found}" for name, found in done.predictions.items())


def _size(scan: Path) -> float:
    try:
        return float(sum(file.stat().st_size for file in (scan.iterdir() if scan.is_dir() else (scan,))))
    except OSError:
        return 0.0  # it will fail by name when its turn comes


def _reason(error: Exception) -> str:
    if isinstance(error, SamMoeError):
        return " ".join(str(error).split())
    return f"internal error, {type(error).__name__}: {error}"


def _report(request: Request, state: Literal["done", "finished before", "failed"], text: str) -> CaseReport:
    return CaseReport(str(request.scan), state, str(request.out), text)
