"""What `sam-moe predict` does: one scan and its prompts in; mask, picture and manifest out.

Four steps: `check` finds what is wrong with a request before anything is done, `take` reads its scan,
`answer` segments, `write` puts down what was found. `run` takes them one after the other; `many.py` overlaps
those of several scans.
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
from sam_moe.predict.files.writing import TARGET, Done, put_down
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
    """What was asked: a prompt, or a file of prompts for one or more targets.

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

    def said(self) -> PromptCase | None:
        """What the file of prompts says about this scan; None where there is no file."""
        if self.case is not None or self.prompts_file is None:
            return self.case
        return case_for(read_prompts(self.prompts_file), self.prompts_file, self.scan)


@dataclass(frozen=True)
class Asked:
    """A request that was found sound: prompts and label values by target name."""

    request: Request
    targets: Mapping[str, Prompt]
    labels: Mapping[str, int]
    expected: str | None  # fingerprint of the scan that the prompts were made on
    space: str
    start: float


@dataclass(frozen=True)
class Taken:
    """A request with its scan."""

    asked: Asked
    volume: Volume
    fingerprint: str
    stamp: str


@dataclass(frozen=True)
class Loaded:
    """A model ready to answer, and what to note about it."""

    model: Model
    weights_sha256: str | None

    def record(self) -> ModelRecord:
        """The same for a manifest."""
        return ModelRecord(
            id=self.model.id,
            weights_sha256=self.weights_sha256,
            box_strategy=self.model.box_strategy,
            dtype=str(self.model.dtype).removeprefix("torch."),
            **self.model.lowering.model_dump(),
        )


@dataclass(frozen=True)
class Found:
    """A request with its answer, which nothing else remembers: it can be written while others are asked."""

    taken: Taken
    mask: UInt8[Tensor, "i j k"]
    predictions: Mapping[str, Prediction]
    model: ModelRecord
    device: torch.device


def run(request: Request, load: Callable[[], Loaded], progress: Progress) -> Done:
    """Segment and write. Everything that can be wrong with the request is found before the model is loaded.

    Raises:
        SamMoeError: saying what is wrong; then nothing was written.
    """
    asked = check(request)
    progress("reading the scan", 0.0)
    taken = take(asked)
    progress("loading the model", 0.0)
    found = answer(load(), taken, progress)
    return write(found, progress)


def check(request: Request) -> Asked:
    """See that a request can be followed, by its paths, its prompts and the scan's header.

    Raises:
        SamMoeError: saying what is wrong.
    """
    start = time.perf_counter()
    if request.wrong:
        raise FileError(request.wrong)
    sweep(request.out.parent)
    request.check_outputs()
    case = request.said()
    if case is None:
        assert request.prompt is not None
        asked = Asked(request, {TARGET: request.prompt}, {TARGET: 1}, None, "voxel", start)
    else:
        targets = {target.name: case.prompt(target) for target in case.targets}
        labels = {target.name: target.label for target in case.targets}
        asked = Asked(request, targets, labels, case.fingerprint, case.space, start)
    header = read_header(request.scan)
    for name, prompt in asked.targets.items():
        try:
            check_positive(prompt)
            prompt.check_inside(header.grid.affine, header.grid.shape)
        except PromptError as error:
            if request.prompts_file is None:
                raise
            raise PromptError(f"{request.prompts_file}: target {name!r}: {error}") from error
    return asked


def take(asked: Asked) -> Taken:
    """Read the scan and name it by its content; a warning where the prompts were made on another one."""
    stamp = stamp_of(asked.request.scan)  # before it is read: what changes meanwhile must show
    volume, _ = opened(asked.request.scan)
    taken = Taken(asked, volume, fingerprint(volume), stamp)
    if asked.expected is not None and asked.expected != taken.fingerprint:
        hint = "its voxel indices may mean other places here" if asked.space == "voxel" else "check it"
        log.warning(
            "%s was recorded on another scan than %s; %s",
            asked.request.prompts_file,
            asked.request.scan,
            hint,
        )
    return taken


def answer(loaded: Loaded, taken: Taken, progress: Progress) -> Found:
    """Segment every target."""
    predictor = loaded.model.open(taken.volume, taken.fingerprint, progress=progress)
    progress("segmenting", 0.0)
    mask, predictions = _predict(predictor, taken.asked.targets, taken.asked.labels)
    return Found(taken, mask, predictions, loaded.record(), loaded.model.device)


def write(found: Found, progress: Progress) -> Done:
    """Draw, then write the mask, and last its manifest: where that lies, all else is whole.

    Raises:
        FileError: where something cannot be written, or is not ours.
    """
    asked, grid = found.taken.asked, found.taken.volume.grid
    request, labels, outputs = asked.request, asked.labels, asked.request.outputs
    drawn = None
    if outputs.overlay is not None:
        progress("drawing", 0.0)
        from sam_moe.pictures import overlay as picture

        drawn = picture.drawn([_scene(found.taken.volume, found.predictions)])
    progress("writing", 0.0)
    before = request.check_outputs()  # again: much may have happened since
    manifest = Manifest(
        finished=now(),
        seconds=round(time.perf_counter() - asked.start, 3),
        command=tuple(map(as_text, request.command)),
        mask=as_text(request.out.name),
        scan=ScanRecord(
            path=as_text(request.scan),
            fingerprint=found.taken.fingerprint,
            grid=GridRecord.of(grid),
            stamp=found.taken.stamp,
        ),
        model=found.model,
        machine=machine(found.device),
        targets=tuple(target_record(name, labels[name], made) for name, made in found.predictions.items()),
        prompts=prompts_of(
            request.scan, found.taken.fingerprint, grid, asked.targets, labels, outputs.record
        ),
    )
    names = None if request.prompt else {labels[name]: name for name in asked.targets}
    manifest = put_down(outputs, found.mask, grid, names, manifest, drawn, before)
    files = {"mask": outputs.mask, "manifest": outputs.record, "overlay": outputs.overlay}
    for name, made in found.predictions.items():
        if made.voxels == 0:
            log.warning("nothing was found for %s; the mask has none of it", name)
    shown = {what: str(path) for what, path in files.items() if path is not None}
    return Done(found.predictions, manifest, shown)


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
