"""What `sam-moe predict` does: one scan and its prompts in; mask, picture and manifest out.

Four steps, each from one record to the next: `check` finds what is wrong with a `Request` before anything is
done (`CheckedRequest`), `read_scan` reads (`ReadScan`), `segment` answers (`Segmented`), `write` writes
(`Written`). `run` takes them one after the other; `many.py` overlaps those of several scans.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sam_moe.errors import FileError, PromptError
from sam_moe.files import sweep
from sam_moe.pictures.scene import Scene
from sam_moe.predict.files.manifest import (
    GridRecord,
    Manifest,
    ModelRecord,
    ScanRecord,
    as_text,
    case_for,
    machine,
    now,
    prompts_of,
    read_prompts,
    target_record,
)
from sam_moe.predict.files.outputs import Outputs, stamp_of
from sam_moe.predict.files.writing import TARGET, Written, put_down
from sam_moe.predict.model import Model
from sam_moe.predict.opening import opened
from sam_moe.predict.prediction import Prediction
from sam_moe.predict.predictor import Predictor
from sam_moe.predict.regions.where import check_positive
from sam_moe.progress import Progress
from sam_moe.prompts.prompt import Prompt
from sam_moe.prompts.promptset import PromptCase
from sam_moe.shapes import UInt8
from sam_moe.space.files import fingerprint, read_header
from sam_moe.space.volume import Volume

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """One scan to segment: by a prompt, or by a file of prompts for one or more targets.

    With `force` files that are not ours may be replaced; `wrong` is what is known to be wrong already.
    """

    scan: Path
    out: Path
    prompt: Prompt | None = None
    prompts_file: Path | None = None
    overlay: Path | None = None
    command: tuple[str, ...] = ()
    case: PromptCase | None = None  # of the file, where that is known already
    force: bool = False
    wrong: str = ""

    @property
    def outputs(self) -> Outputs:
        """The files to write."""
        return Outputs(self.out, self.overlay)

    def check_outputs(self) -> tuple[str, ...]:
        """See that they can be written without a loss; returns the checksums of those that are replaced.

        Raises:
            FileError: as `Outputs.check`.
        """
        inputs = [] if self.prompts_file is None else [self.prompts_file]
        return self.outputs.check(self.scan, inputs, force=self.force)

    def prompt_case(self) -> PromptCase | None:
        """The case of this scan in the file of prompts; None where there is no file.

        Raises:
            PromptError: for a bad file, or one in which no case, or more than one, names the scan.
        """
        if self.case is not None or self.prompts_file is None:
            return self.case
        return case_for(read_prompts(self.prompts_file), self.prompts_file, self.scan)


@dataclass(frozen=True)
class CheckedRequest:
    """A request that was found sound: prompts and label values by target name."""

    request: Request
    targets: Mapping[str, Prompt]
    labels: Mapping[str, int]
    expected: str | None  # fingerprint of the scan that the prompts were made on
    space: str
    start: float


@dataclass(frozen=True)
class ReadScan:
    """A checked request with its scan; `stamp` as `stamp_of` gives it."""

    checked: CheckedRequest
    volume: Volume
    fingerprint: str
    stamp: str


@dataclass(frozen=True)
class LoadedModel:
    """A model, and the checksum of its weights for the record."""

    model: Model
    weights_sha256: str | None

    def record(self) -> ModelRecord:
        """What a manifest records of it."""
        return ModelRecord(
            id=self.model.id,
            weights_sha256=self.weights_sha256,
            box_strategy=self.model.box_strategy,
            dtype=str(self.model.dtype).removeprefix("torch."),
            **self.model.lowering.model_dump(),
        )


@dataclass(frozen=True)
class Segmented:
    """A scan with its answers, which nothing else keeps: it can be written while others are segmented."""

    scan: ReadScan
    mask: UInt8[Tensor, "i j k"]
    predictions: Mapping[str, Prediction]
    model: ModelRecord
    device: torch.device


def run(request: Request, load: Callable[[], LoadedModel], progress: Progress) -> Written:
    """Segment and write. Everything that can be wrong with the request is found before the model is loaded.

    Raises:
        SamMoeError: for whatever is wrong; then nothing was written.
    """
    checked = check(request)
    progress("reading the scan", 0.0)
    scan = read_scan(checked)
    progress("loading the model", 0.0)
    segmented = segment(load(), scan, progress)
    return write(segmented, progress)


def check(request: Request) -> CheckedRequest:
    """See that a request can be followed, by its paths, its prompts and the scan's header.

    Raises:
        SamMoeError: for the first thing that is wrong.
    """
    start = time.perf_counter()
    if request.wrong:
        raise FileError(request.wrong)
    sweep(request.out.parent)
    request.check_outputs()
    case = request.prompt_case()
    if case is None:
        assert request.prompt is not None
        checked = CheckedRequest(request, {TARGET: request.prompt}, {TARGET: 1}, None, "voxel", start)
    else:
        targets = {target.name: case.prompt(target) for target in case.targets}
        labels = {target.name: target.label for target in case.targets}
        checked = CheckedRequest(request, targets, labels, case.fingerprint, case.space, start)
    header = read_header(request.scan)
    for name, prompt in checked.targets.items():
        try:
            check_positive(prompt)
            prompt.check_inside(header.grid.affine, header.grid.shape)
        except PromptError as error:
            if request.prompts_file is None:
                raise
            raise PromptError(f"{request.prompts_file}: target {name!r}: {error}") from error
    return checked


def read_scan(checked: CheckedRequest) -> ReadScan:
    """Read the scan and name it by its content; a warning where the prompts were made on another one."""
    stamp = stamp_of(checked.request.scan)  # before it is read: what changes meanwhile must show
    volume, _ = opened(checked.request.scan)
    scan = ReadScan(checked, volume, fingerprint(volume), stamp)
    if checked.expected is not None and checked.expected != scan.fingerprint:
        hint = "its voxel indices may mean other places here" if checked.space == "voxel" else "check it"
        log.warning(
            "%s was recorded on another scan than %s; %s",
            checked.request.prompts_file,
            checked.request.scan,
            hint,
        )
    return scan


def segment(loaded: LoadedModel, scan: ReadScan, progress: Progress) -> Segmented:
    """Segment every target."""
    predictor = loaded.model.open(scan.volume, scan.fingerprint, progress=progress)
    progress("segmenting", 0.0)
    mask, predictions = _predict(predictor, scan.checked.targets, scan.checked.labels)
    return Segmented(scan, mask, predictions, loaded.record(), loaded.model.device)


def write(segmented: Segmented, progress: Progress) -> Written:
    """Draw, then write the mask, and last its manifest: where that lies, all else is whole.

    Raises:
        FileError: where something cannot be written, or is not ours.
    """
    scan, checked = segmented.scan, segmented.scan.checked
    request, labels, outputs = checked.request, checked.labels, checked.request.outputs
    grid, predictions = scan.volume.grid, segmented.predictions
    drawn = None
    if outputs.overlay is not None:
        progress("drawing", 0.0)
        from sam_moe.pictures import overlay as picture

        drawn = picture.drawn([_scene(scan.volume, predictions)])
    progress("writing", 0.0)
    before = request.check_outputs()  # again: much may have happened since
    manifest = Manifest(
        finished=now(),
        seconds=round(time.perf_counter() - checked.start, 3),
        command=tuple(map(as_text, request.command)),
        mask=as_text(request.out.name),
        scan=ScanRecord(
            path=as_text(request.scan),
            fingerprint=scan.fingerprint,
            grid=GridRecord.of(grid),
            stamp=scan.stamp,
        ),
        model=segmented.model,
        machine=machine(segmented.device),
        targets=tuple(target_record(name, labels[name], made) for name, made in predictions.items()),
        prompts=prompts_of(request.scan, scan.fingerprint, grid, checked.targets, labels, outputs.record),
    )
    names = None if request.prompt else {labels[name]: name for name in checked.targets}
    manifest = put_down(outputs, segmented.mask, grid, names, manifest, drawn, before)
    files = {"mask": outputs.mask, "manifest": outputs.record, "overlay": outputs.overlay}
    for name, made in predictions.items():
        if made.voxels == 0:
            log.warning("nothing was found for %s; the mask has none of it", name)
    shown = {what: str(path) for what, path in files.items() if path is not None}
    return Written(predictions, manifest, shown)


def _predict(
    predictor: Predictor, targets: Mapping[str, Prompt], labels: Mapping[str, int]
) -> tuple[UInt8[Tensor, "i j k"], Mapping[str, Prediction]]:
    if len(targets) == 1:
        ((name, prompt),) = targets.items()
        found = predictor.predict(*prompt)
        # Times 1 would be a second mask, of a byte a voxel
        return found.mask if labels[name] == 1 else found.mask * labels[name], {name: found}
    joined = predictor.predict_targets(targets)
    values = torch.zeros(256, dtype=torch.uint8)
    for number, name in joined.names.items():
        values[number] = labels[name]
    if not torch.equal(values[: len(targets) + 1].long(), torch.arange(len(targets) + 1)):
        for k in range(joined.labels.shape[2]):  # slice by slice: indices are of 8 bytes a voxel
            joined.labels[:, :, k] = values[joined.labels[:, :, k].long()]
    return joined.labels, joined.predictions


def _scene(scan: Volume, predictions: Mapping[str, Prediction]) -> Scene:
    items = tuple(item for found in predictions.values() for item in found.prompt)
    if len(predictions) == 1:
        title = str(next(iter(predictions.values())))
    else:
        title = ", ".join(f"{name} {found.volume_ml:.1f} ml" for name, found in predictions.items())
    masks = {name: found.mask for name, found in predictions.items()}
    return Scene(scan, masks, Prompt(items), title)
