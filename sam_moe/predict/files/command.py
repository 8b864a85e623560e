"""What `sam-moe predict` and `sam-moe segment` do: one scan in; labels, picture and manifest out.

Four steps, each from one record to the next: `check` finds what is wrong with a `Request` before anything is
done, `read_scan` reads (`ReadScan`), a loaded model answers (`Segmented`), `write` writes (`Written`). `run`
takes them one after the other; `many.py` overlaps those of several scans. What is asked and how it is
answered is the request's and the model's: `prompted.py`, `automatic.py`.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, runtime_checkable

import torch

from sam_moe.errors import FileError
from sam_moe.files import sweep
from sam_moe.predict.files.manifest import (
    GridRecord,
    Manifest,
    ModelRecord,
    ScanRecord,
    as_text,
    machine,
    now,
)
from sam_moe.predict.files.outputs import stamp_of
from sam_moe.predict.files.request import Asked
from sam_moe.predict.files.writing import ScanAnswer, Written, put_down
from sam_moe.predict.opening import opened
from sam_moe.progress import Progress
from sam_moe.space.files import fingerprint, read_header
from sam_moe.space.volume import Volume

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CheckedRequest(Generic[Asked]):
    """A request that was found sound, and when the work on it began."""

    request: Asked
    start: float


@dataclass(frozen=True)
class ReadScan(Generic[Asked]):
    """A checked request with its scan; `stamp` as `stamp_of` gives it."""

    request: Asked
    volume: Volume
    fingerprint: str
    stamp: str
    start: float


@dataclass(frozen=True)
class Segmented:
    """A scan with its answer, which nothing else keeps: it can be written while others are segmented."""

    scan: ReadScan[Any]
    answer: ScanAnswer
    model: ModelRecord
    device: torch.device


@runtime_checkable
class Segmenter(Protocol[Asked]):
    """A model that is loaded, for one kind of request."""

    def record(self) -> ModelRecord:
        """What a manifest records of it."""

    def segment(self, scan: ReadScan[Asked], progress: Progress) -> Segmented:
        """ScanAnswer what is asked of a scan."""


def run(request: Asked, load: Callable[[], Segmenter[Asked]], progress: Progress) -> Written:
    """Segment and write. Everything that can be wrong with the request is found before the model is loaded.

    Raises:
        SamMoeError: for whatever is wrong; then nothing was written.
    """
    checked = check(request)
    progress("reading the scan", 0.0)
    scan = read_scan(checked)
    progress("loading the model", 0.0)
    segmented = load().segment(scan, progress)
    return write(segmented, progress)


def check(request: Asked) -> CheckedRequest[Asked]:
    """See that a request can be followed, by its paths, what it asks and the scan's header.

    Raises:
        SamMoeError: for the first thing that is wrong.
    """
    start = time.perf_counter()
    if request.wrong:
        raise FileError(request.wrong)
    sweep(request.out.parent)
    request.check_outputs()
    return CheckedRequest(request.checked(read_header(request.scan).grid), start)


def read_scan(checked: CheckedRequest[Asked]) -> ReadScan[Asked]:
    """Read the scan and name it by its content; a warning where what is asked was about another one."""
    request = checked.request
    stamp = stamp_of(request.scan)  # before it is read: what changes meanwhile must show
    volume, _ = opened(request.scan)
    scan = ReadScan(request, volume, fingerprint(volume), stamp, checked.start)
    request.remark_on(scan.fingerprint)
    return scan


def write(segmented: Segmented, progress: Progress) -> Written:
    """Draw, then write the labels, and last their manifest: where that lies, all else is whole.

    Raises:
        FileError: where something cannot be written, or is not ours.
    """
    scan, answer = segmented.scan, segmented.answer
    request = scan.request
    outputs = request.outputs
    drawn = None
    if outputs.overlay is not None:
        progress("drawing", 0.0)
        from sam_moe.pictures import overlay as picture

        drawn = picture.drawn([answer.scene(scan.volume)])
    progress("writing", 0.0)
    before = request.check_outputs()  # again: much may have happened since
    findings = answer.findings()
    manifest = Manifest(
        finished=now(),
        seconds=round(time.perf_counter() - scan.start, 3),
        command=tuple(map(as_text, request.command)),
        mask=as_text(request.out.name),
        scan=ScanRecord(
            path=as_text(request.scan),
            fingerprint=scan.fingerprint,
            grid=GridRecord.of(scan.volume.grid),
            stamp=scan.stamp,
        ),
        model=segmented.model,
        machine=machine(segmented.device),
        targets=findings.targets,
        prompts=findings.prompts,
        automatic=findings.automatic,
    )
    manifest = put_down(outputs, answer.mask, scan.volume.grid, answer.names, manifest, drawn, before)
    files = {"mask": outputs.mask, "manifest": outputs.record, "overlay": outputs.overlay}
    for remark in answer.remarks():
        log.warning("%s", remark)
    return Written(answer, manifest, {what: str(path) for what, path in files.items() if path is not None})
