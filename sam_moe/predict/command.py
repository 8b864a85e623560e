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
from typing import Any

import torch
from torch import Tensor

from sam_moe.config import write_json
from sam_moe.errors import FileError, PromptError
from sam_moe.predict.manifest import (
    GridRecord,
    Manifest,
    ModelRecord,
    ScanRecord,
    beside,
    case_for,
    machine,
    now,
    prompts_of,
    read_prompts,
    target_record,
)
from sam_moe.predict.model import Model
from sam_moe.predict.opening import opened
from sam_moe.predict.prediction import Prediction
from sam_moe.predict.predictor import Predictor
from sam_moe.predict.regions import check_positive
from sam_moe.predict.scene import Scene
from sam_moe.prompts.prompt import Prompt
from sam_moe.prompts.promptset import PromptCase
from sam_moe.shapes import UInt8
from sam_moe.space.files import fingerprint, read_header, suffix_of, write_mask
from sam_moe.space.volume import Volume

log = logging.getLogger(__name__)

Tell = Callable[[str, float], None]

_TARGET = "target"


@dataclass(frozen=True)
class Request:
    """What was asked: a prompt, or a file of prompts for one or more targets."""

    scan: Path
    out: Path
    prompt: Prompt | None = None
    prompts_file: Path | None = None
    overlay: Path | None = None
    command: tuple[str, ...] = ()
    case: PromptCase | None = None  # of the file, where that is known already

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
        )


@dataclass(frozen=True)
class Found:
    """A request with its answer, which nothing else remembers: it can be written while others are asked."""

    taken: Taken
    mask: UInt8[Tensor, "i j k"]
    predictions: Mapping[str, Prediction]
    model: ModelRecord
    device: torch.device


@dataclass(frozen=True)
class Done:
    """What was found and where it was written."""

    predictions: Mapping[str, Prediction]
    manifest: Manifest
    files: dict[str, str]

    def __str__(self) -> str:
        if list(self.predictions) == [_TARGET]:
            return str(self.predictions[_TARGET])
        width = max(len(name) for name in self.predictions)
        return "\n".join(f"{name:<{width}}  {prediction}" for name, prediction in self.predictions.items())

    def explain(self) -> str:
        """Who answered each target, and why."""
        if list(self.predictions) == [_TARGET]:
            return self.predictions[_TARGET].explain()
        return "\n".join(f"{name}: {found.explain()}" for name, found in self.predictions.items())

    def as_json(self) -> dict[str, Any]:
        """The same for machines."""
        kept = self.manifest.model_dump(mode="json", include={"scan", "model", "targets", "seconds"})
        return {"files": self.files, **kept}


def run(request: Request, load: Callable[[], Loaded], tell: Tell) -> Done:
    """Segment and write. Everything that can be wrong with the request is found before the model is loaded.

    Raises:
        SamMoeError: saying what is wrong; then nothing was written.
    """
    asked = check(request)
    tell("reading the scan", 0.0)
    taken = take(asked)
    tell("loading the model", 0.0)
    found = answer(load(), taken, tell)
    return write(found, tell)


def check(request: Request) -> Asked:
    """See that a request can be followed, by its paths, its prompts and the scan's header.

    Raises:
        SamMoeError: saying what is wrong.
    """
    start = time.perf_counter()
    _check_paths(request)
    case = request.said()
    if case is None:
        assert request.prompt is not None
        asked = Asked(request, {_TARGET: request.prompt}, {_TARGET: 1}, None, "voxel", start)
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
    volume, _ = opened(asked.request.scan)
    taken = Taken(asked, volume, fingerprint(volume))
    if asked.expected is not None and asked.expected != taken.fingerprint:
        hint = "its voxel indices may mean other places here" if asked.space == "voxel" else "check it"
        log.warning(
            "%s was recorded on another scan than %s; %s",
            asked.request.prompts_file,
            asked.request.scan,
            hint,
        )
    return taken


def answer(loaded: Loaded, taken: Taken, tell: Tell) -> Found:
    """Segment every target."""
    predictor = loaded.model.open(taken.volume, taken.fingerprint, progress=tell)
    tell("segmenting", 0.0)
    mask, predictions = _predict(predictor, taken.asked.targets, taken.asked.labels)
    return Found(taken, mask, predictions, loaded.record(), loaded.model.device)


def write(found: Found, tell: Tell) -> Done:
    """Write the mask, then its manifest: where that lies, the mask is whole."""
    tell("writing", 0.0)
    asked, grid = found.taken.asked, found.taken.volume.grid
    request, labels = asked.request, asked.labels
    names = {labels[name]: name for name in asked.targets}
    write_mask(request.out, found.mask, grid, None if asked.request.prompt else names)
    scan = ScanRecord(path=str(request.scan), fingerprint=found.taken.fingerprint, grid=GridRecord.of(grid))
    manifest = Manifest(
        finished=now(),
        seconds=round(time.perf_counter() - asked.start, 3),
        command=request.command,
        mask=request.out.name,
        scan=scan,
        model=found.model,
        machine=machine(found.device),
        targets=tuple(target_record(name, labels[name], made) for name, made in found.predictions.items()),
        prompts=prompts_of(request.scan, scan.fingerprint, grid, asked.targets, labels, beside(request.out)),
    )
    write_json(manifest, beside(request.out))
    files = {"mask": str(request.out), "manifest": str(beside(request.out))}
    if request.overlay is not None:
        tell("drawing", 0.0)
        from sam_moe.predict.picture import overlay  # matplotlib costs half a second, and few ask for it

        overlay(request.overlay, [_scene(found.taken.volume, found.predictions)])
        files["overlay"] = str(request.overlay)
    for name, made in found.predictions.items():
        if made.voxels == 0:
            log.warning("nothing was found for %s; the mask has none of it", name)
    return Done(found.predictions, manifest, files)


def _predict(
    predictor: Predictor, targets: Mapping[str, Prompt], labels: Mapping[str, int]
) -> tuple[UInt8[Tensor, "i j k"], Mapping[str, Prediction]]:
    if len(targets) == 1:
        ((name, prompt),) = targets.items()
        found = predictor.predict(*prompt)
        return found.mask * labels[name], {name: found}
    joined = predictor.predict_targets(targets)
    values = torch.zeros(256, dtype=torch.uint8)
    for number, name in joined.names.items():
        values[number] = labels[name]
    return values[joined.labels.long()], joined.predictions


def _scene(scan: Volume, predictions: Mapping[str, Prediction]) -> Scene:
    items = tuple(item for found in predictions.values() for item in found.prompt)
    if len(predictions) == 1:
        title = str(next(iter(predictions.values())))
    else:
        title = ", ".join(f"{name} {found.volume_ml:.1f} ml" for name, found in predictions.items())
    masks = {name: found.mask for name, found in predictions.items()}
    return Scene(scan, masks, Prompt(items), title)


def _check_paths(request: Request) -> None:
    """Refuse what could not be written at the end, or would overwrite what was read."""
    suffix_of(request.out)
    outputs = [request.out, beside(request.out)]
    if request.overlay is not None:
        if request.overlay.suffix.lower() != ".png":
            raise FileError(f"{request.overlay}: the picture is a PNG. Give it a name that ends in .png.")
        outputs.append(request.overlay)
    for path in outputs:
        if not path.parent.is_dir():
            raise FileError(f"{path}: no such folder {path.parent}. Expected an existing one; make it first.")
        if path.is_dir():
            raise FileError(f"{path}: this is a folder. Expected the name of a file; choose another name.")
        if _belongs_to(path, request.scan):
            raise FileError(f"{path}: belongs to the scan, which is left as it is. Choose another place.")


def _belongs_to(path: Path, scan: Path) -> bool:
    """Whether a path is the scan, or lies in the folder of its DICOM files."""
    place, source = path.resolve(), scan.resolve()
    return place == source or (source.is_dir() and place.parent == source)
