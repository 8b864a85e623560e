"""Many scans in one run of `sam-moe predict`: each once, whatever fails or was finished before."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from sam_moe.errors import FileError, SamMoeError
from sam_moe.files import make_folder, sweep
from sam_moe.ownership import is_folder, is_there
from sam_moe.predict.files.command import LoadedModel, ReadScan, Request, check, read_scan, segment, write
from sam_moe.predict.files.manifest import Begun, Manifest, ModelRecord, as_text, read_prompts, read_record
from sam_moe.predict.files.outputs import holds, stamp_of
from sam_moe.predict.files.overlap import overlapped
from sam_moe.predict.files.writing import Written
from sam_moe.predict.opening import opened
from sam_moe.processes import Processes
from sam_moe.progress import Progress, silent
from sam_moe.prompts.promptset import PromptCase
from sam_moe.space.files import fingerprint

log = logging.getLogger(__name__)

SUFFIX = ".nii.gz"
_SCANS = (".nii.gz", ".nii", ".nrrd", ".mha", ".dcm", ".ima")
_NAMED = "Expected the name of a file or folder; of a folder, name it from the one above."


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


def requests(
    scans: Path, prompts: Path, out: Path, command: tuple[str, ...] = (), *, force: bool = False
) -> list[Request]:
    """One request for each case of a prompt file; masks lie in `out` as their scans lie beside each other.

    A scan is looked for in `scans` under the name that the file gives it, then beside the file. A case that
    cannot be written, for its name or because another case would write the same mask or is a scan of that
    name, is a request that fails.

    Raises:
        FileError: where `out` is no folder.
        PromptError: for a bad prompt file.
    """
    if is_there(out) and not is_folder(out):
        raise FileError(
            f"{out}: is a file. Expected a folder for the masks of many scans; choose another name."
        )
    found = []
    for case in read_prompts(prompts).cases:
        here = scans / case.image
        scan = here if _place(here) else prompts.parent / case.image
        name = _mask_name(case)
        wrong = "" if name else f"{prompts}: image {case.image!r}: no mask can be named after it. {_NAMED}"
        found.append(Request(scan, out / (name or ""), None, prompts, None, command, case, force, wrong))
    return _without_collisions(found)


def _without_collisions(wanted: list[Request]) -> list[Request]:
    """The same, those that would write one mask, or over a scan of the run, as requests that fail."""
    count = Counter(request.out for request in wanted if not request.wrong)
    read = {_place(request.scan): request for request in wanted}
    found = []
    for request in wanted:
        wrong, place = request.wrong, _place(request.out)
        if not wrong and count[request.out] > 1:
            wrong = (
                f"{request.scan}: {count[request.out]} cases would write {request.out}. Expected one case a "
                "scan; join their targets, or put them into two files and write to two folders."
            )
        elif not wrong and place is not None and place in read:
            wrong = f"{request.out}: is the scan of a case, which is left as it is. Choose another --out."
        found.append(replace(request, wrong=wrong))
    return found


def _place(path: Path) -> tuple[int, int] | None:
    """Where a file is on its disk, by whatever name it is reached; None where there is none."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def _mask_name(case: PromptCase) -> Path | None:
    """The image's own path below its prompt file, whatever led up and out of there, with a mask's suffix."""
    parts = PurePosixPath(case.image).parts
    if not parts or parts[-1] in ("..", ".") or "\0" in case.image:
        return None
    *folders, name = [part for part in parts if part not in ("..", ".")]
    for suffix in _SCANS:
        if name.lower().endswith(suffix):
            name = name[: -len(suffix)]
            break
    return Path(*folders, name + SUFFIX)


def run_many(
    wanted: list[Request],
    load: Callable[[], LoadedModel],
    progress: Progress,
    ended: Callable[[CaseReport], None],
) -> Report:
    """Segment all scans, in as many processes as were launched; `ended` is called with each report.

    A scan whose run record answers the same prompts by the same model is not done again; one that fails is
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
    mine = processes.share(wanted, sizes)
    left = [request for request in mine if request.out not in before]
    reports = [_report(request, "finished before", "") for request in mine if request.out in before]

    def read(request: Request) -> ReadScan:
        if not request.wrong:
            make_folder(request.out.parent)
        return read_scan(check(request))

    progress("segmenting", 0.0)  # stages of single scans overlap: only the share of scans is shown
    outcomes = overlapped(
        left, read, lambda scan: segment(loaded, scan, silent), lambda made: _brief(write(made, silent))
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
    """Whether a run record says that this model answered these prompts on this scan by the mask beside it.

    Mask and names are compared by checksum, the scan by its files' sizes and times, and by its content where
    these differ from those that were recorded.
    """
    outputs, case = request.outputs, request.prompt_case()
    try:
        if case is None or not outputs.record.is_file():
            return False
        record = read_record(outputs.record)
    except (FileError, OSError, ValueError) as error:
        log.warning("%s; the scan is segmented again", error)
        return False
    if isinstance(record, Begun) or record.model != model:
        return False
    if _prompts_of(record.prompts.cases[0]) != _prompts_of(case):
        return False
    return holds(record, outputs) and _unchanged(request.scan, record)


def _unchanged(scan: Path, record: Manifest) -> bool:
    if stamp_of(scan) == record.scan.stamp:
        return True
    try:
        return fingerprint(opened(scan)[0]) == record.scan.fingerprint
    except SamMoeError:  # which the scan's own report will name
        return False


def _prompts_of(case: PromptCase) -> Mapping[str, object]:
    return {target.name: (target.label, case.prompt(target)) for target in case.targets}


def _brief(written: Written) -> str:
    """What was found, in one line: the masks themselves are not kept."""
    return "; ".join(f"{name} {found}" for name, found in written.predictions.items())


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
