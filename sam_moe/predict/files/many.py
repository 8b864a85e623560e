"""Many scans in one run: each once, whatever fails or was finished before."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sam_moe.errors import FileError, SamMoeError
from sam_moe.files import make_folder, sweep
from sam_moe.predict.files.command import ReadScan, Segmenter, check, read_scan, write
from sam_moe.predict.files.manifest import Begun, Manifest, ModelRecord, as_text, read_record
from sam_moe.predict.files.outputs import holds, stamp_of
from sam_moe.predict.files.overlap import overlapped
from sam_moe.predict.files.request import Asked, Request
from sam_moe.predict.opening import opened
from sam_moe.processes import Processes
from sam_moe.progress import Progress, silent
from sam_moe.space.files import fingerprint

log = logging.getLogger(__name__)


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
        counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        return f"{len(self.cases)} scans: {counts}; {self.seconds:.1f} s, {pace:.0f} a minute"

    def as_json(self) -> dict[str, Any]:
        """The same for machines."""
        return {"seconds": round(self.seconds, 3), "cases": [vars(case) for case in self.cases]}


def run_many(
    wanted: Sequence[Asked],
    load: Callable[[], Segmenter[Asked]],
    progress: Progress,
    ended: Callable[[CaseReport], None],
) -> Report:
    """Segment all scans, in as many processes as were launched; `ended` is called with each report.

    A scan whose run record answers the same request by the same model is not done again; one that fails is
    reported and stops no other.
    """
    start = time.perf_counter()
    processes = Processes()
    progress("loading the model", 0.0)
    loaded = load()
    model = loaded.record()
    for folder in {request.out.parent for request in wanted if not request.wrong}:
        sweep(folder)  # also where nothing is left to do
    before = {request.out for request in wanted if not request.wrong and finished(request, model)}
    sizes = [0.0 if request.out in before else _size(request.scan) for request in wanted]
    mine = processes.share(list(wanted), sizes)
    left = [request for request in mine if request.out not in before]
    reports = [_report(request, "finished before", "") for request in mine if request.out in before]

    def read(request: Asked) -> ReadScan[Asked]:
        if not request.wrong:
            make_folder(request.out.parent)
        return read_scan(check(request))

    progress("segmenting", 0.0)  # stages of single scans overlap: only the share of scans is shown
    outcomes = overlapped(
        left, read, lambda scan: loaded.segment(scan, silent), lambda made: write(made, silent).answer.brief()
    )
    for number, outcome in enumerate(outcomes, start=1):
        if outcome.error is None:
            report = _report(outcome.item, "done", outcome.result or "")
        else:
            report = _report(outcome.item, "failed", _reason(outcome.error))
            log.debug("%s failed", outcome.item.scan, exc_info=outcome.error)
        reports.append(report)
        ended(report)
        progress("segmenting", number / len(left))
    return Report(tuple(processes.gather(reports)), time.perf_counter() - start)


def finished(request: Request, model: ModelRecord) -> bool:
    """Whether a run record says that this model answered this request by the mask beside it.

    Mask and names are compared by checksum, the scan by its files' sizes and times, and by its content where
    these differ from those that were recorded.
    """
    outputs = request.outputs
    try:
        if not outputs.record.is_file():
            return False
        record = read_record(outputs.record)
    except (FileError, OSError, ValueError) as error:
        log.warning("%s; the scan is segmented again", error)
        return False
    if isinstance(record, Begun) or record.model != model or not request.is_answered_by(record):
        return False
    return holds(record, outputs) and _unchanged(request.scan, record)


def _unchanged(scan: Path, record: Manifest) -> bool:
    if stamp_of(scan) == record.scan.stamp:
        return True
    try:
        return fingerprint(opened(scan)[0]) == record.scan.fingerprint
    except SamMoeError:  # which the scan's own report will name
        return False


def _size(scan: Path) -> float:
    try:
        return float(sum(file.stat().st_size for file in (scan.iterdir() if scan.is_dir() else (scan,))))
    except (OSError, ValueError):
        return 0.0  # it will fail by name when its turn comes


def _reason(error: Exception) -> str:
    if isinstance(error, SamMoeError):
        return " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return "not enough memory for this scan. Expected more to be free; crop or resample it."
    return f"internal error, {type(error).__name__}: {error}"


def _report(request: Request, state: Literal["done", "finished before", "failed"], text: str) -> CaseReport:
    return CaseReport(as_text(request.scan), state, as_text(request.out), text)
