"""The run manifest `<mask>.run.json`: everything needed to understand a mask, and to make it again."""

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path, PureWindowsPath
from typing import Literal

import torch
from pydantic import Field

from sam_moe.config import Record, check_json, read_json, read_object
from sam_moe.errors import FileError, PromptError, SamMoeError
from sam_moe.predict.prediction import Prediction
from sam_moe.processes import threads
from sam_moe.prompts.prompt import Prompt
from sam_moe.prompts.promptset import PromptCase, PromptSet
from sam_moe.space.files.beside import RECORD
from sam_moe.space.grid import Grid
from sam_moe.version import versions

Triple = tuple[float, float, float]
Row = tuple[float, float, float, float]

_PACKAGES = ("torch", "numpy", "nibabel", "SimpleITK", "safetensors")


class GridRecord(Record):
    """Where voxels are."""

    shape: tuple[int, int, int] = Field(description="Voxels along the stored axes.")
    spacing_mm: Triple = Field(description="Distance between voxel centres along the stored axes.")
    axes: str = Field(description="The world direction each stored axis points to most, such as RAS.")
    affine: tuple[Row, Row, Row, Row] = Field(description="From voxel indices to RAS+ millimetres.")

    @classmethod
    def of(cls, grid: Grid) -> "GridRecord":
        """The record of a grid."""
        return cls.model_validate(
            {
                "shape": grid.shape,
                "spacing_mm": grid.spacing_mm,
                "axes": grid.axcodes,
                "affine": grid.affine.tolist(),
            }
        )


class ScanRecord(Record):
    """The scan that was segmented."""

    path: str = Field(description="As it was given.")
    fingerprint: str = Field(description="SHA-256 over the numbers and the grid, whatever the file's format.")
    grid: GridRecord
    stamp: str | None = Field(
        None, description="Digest of its files' names, sizes and times when it was read."
    )


class ModelRecord(Record):
    """The model that answered."""

    id: str = Field(description="Id of its card.")
    weights_sha256: str | None = Field(None, description="Checksum of its file of weights.")
    box_strategy: str = Field(description="How boxes were lowered; 'none', as below, of one without prompts.")
    flat_box: str = Field("box", description="By which rule boxes on one slice were.")
    stroke: str = Field("middle", description="By which rule strokes were.")
    loop: str = Field("deepest", description="By which rule loops were.")
    dtype: str = Field("float32", description="Of the encoder's products.")
    then: "ModelRecord | None" = Field(
        None, description="The promptable model that answered boxes of automatic masks, where one was asked."
    )


class MachineRecord(Record):
    """Where it ran."""

    system: str = Field(description="Operating system and processor.")
    device: str = Field(description="As torch calls it.")
    threads: int = Field(description="Threads that torch used.")
    versions: dict[str, str] = Field(description="Of Python and of the packages that numbers depend on.")


class AnsweredRecord(Record):
    """Which experts of a mixture answered, and why."""

    experts: dict[str, float] = Field(description="Their weights in the mask.")
    confidence: dict[str, float] = Field(description="The gate's in every expert.")
    why: str = Field(description="In words.")
    regions: dict[str, int] = Field(description="How many regions were answered by which experts.")
    fell_back: bool = Field(
        False, description="Whether the general model answered for want of a sure expert."
    )


class TargetRecord(Record):
    """What was found."""

    name: str
    label: int = Field(description="Its value in the mask.")
    voxels: int
    volume_ml: float
    cached: bool = Field(description="Whether the embedding was there already.")
    latency_ms: float
    timings_ms: dict[str, float] = Field(description="Milliseconds by stage.")
    region: GridRecord = Field(description="The grid the model looked at; the last one where it zoomed.")
    answered: AnsweredRecord | None = Field(None, description="Of a mixture: the experts behind the answer.")


class StructureRecord(Record):
    """A structure that was looked for without a prompt."""

    name: str
    label: int = Field(description="Its value in the labels.")
    voxels: int = Field(description="0 where it was not found.")
    volume_ml: float
    answered_by: str | None = Field(
        None, description="Whose mask it is, where a promptable model was asked after the automatic one."
    )
    changed_voxels: int | None = Field(
        None, description="Voxels of it that the promptable model added or took away, where it was asked."
    )


class AutomaticRecord(Record):
    """What a scan was taken for, and what was found in it without a prompt."""

    asked: str | None = Field(None, description="The data set that was named; none where it was found.")
    data_set: str = Field(description="The data set that the scan was taken for.")
    words: str = Field(description="The same in words.")
    unlike: bool = Field(description="Whether it lies farther out than nearly all of that set's own scans.")
    distances: dict[str, float | None] = Field(description="To every data set's training scans.")
    far: float | None = Field(None, description="Below it lie 95 % of the set's own scans.")
    shares: dict[str, dict[str, float]] = Field(description="Mean weight of each expert, place by place.")
    structures: tuple[StructureRecord, ...]
    not_found: tuple[str, ...] = Field(description="Names of those without a voxel.")
    timings_ms: dict[str, float] = Field(description="Milliseconds by stage.")


class Manifest(Record):
    """What ran, on what, and what came out."""

    format: Literal[1] = Field(1, description="Version of this format.")
    kind: Literal["run"] = Field("run", description="Marks a manifest, not a prompt set.")
    finished: datetime = Field(description="When it was done, UTC.")
    seconds: float = Field(description="From the start of the work to the written mask.")
    command: tuple[str, ...] = Field(description="The command line.")
    mask: str = Field(description="File name of the mask, beside this file.")
    mask_sha256: str | None = Field(None, description="Its SHA-256; this file describes no other mask.")
    labels_sha256: str | None = Field(
        None, description="SHA-256 of the file with the mask's names; none where there is no such file."
    )
    scan: ScanRecord
    model: ModelRecord
    machine: MachineRecord
    targets: tuple[TargetRecord, ...] = ()
    prompts: PromptSet | None = Field(
        None, description="Replay with `--prompts <this file>`; none where there was no prompt."
    )
    automatic: AutomaticRecord | None = Field(None, description="Of a model without prompts: what it found.")


class Begun(Record):
    """That a mask is being replaced: what lies beside is ours, and nothing is claimed of it.

    It stands in a manifest's place from before the old mask goes until the new one is whole, so that a run
    which is killed in between leaves no manifest beside another's mask.
    """

    format: Literal[1] = Field(1, description="Version of this format.")
    kind: Literal["begun"] = Field("begun", description="Marks a mask in the making, not a manifest.")
    begun: datetime = Field(description="When the mask was about to be replaced, UTC.")
    command: tuple[str, ...] = Field(description="The command line.")
    mask: str = Field(description="File name of the mask, beside this file.")
    files_sha256: tuple[str, ...] = Field(description="SHA-256 of all files of ours that may lie beside.")
    prompts: PromptSet | None = Field(
        None, description="Replay with `--prompts <this file>`; none where there was no prompt."
    )


def machine(device: torch.device | str) -> MachineRecord:
    """Where this runs, and what is installed there."""
    return MachineRecord(
        system=f"{platform.system()} {platform.machine()}",
        device=str(device),
        threads=threads(),
        versions=versions(_PACKAGES),
    )


def target_record(name: str, label: int, prediction: Prediction) -> TargetRecord:
    """What to keep of one prediction."""
    experts = prediction.answered
    return TargetRecord(
        name=name,
        label=label,
        voxels=prediction.voxels,
        volume_ml=round(prediction.volume_ml, 6),
        cached=prediction.cached,
        latency_ms=round(prediction.latency_ms, 3),
        timings_ms={stage: round(spent, 3) for stage, spent in prediction.timings_ms.items()},
        region=GridRecord.of(prediction.region),
        answered=AnsweredRecord.model_validate(asdict(experts)) if experts else None,
    )


def prompts_of(
    scan: Path,
    fingerprint: str,
    grid: Grid,
    prompts: Mapping[str, Prompt],
    labels: Mapping[str, int],
    to: Path,
) -> PromptSet:
    """The prompts as a prompt set that lies in the folder of `to`; mixed units become millimetres."""
    if len({item.space for prompt in prompts.values() for item in prompt}) > 1:
        prompts = {name: prompt.in_mm(grid.affine) for name, prompt in prompts.items()}
    try:
        image = Path(os.path.relpath(scan.resolve(), to.resolve().parent)).as_posix()
    except ValueError:  # another drive: no relative path leads there
        image = scan.name
    if PureWindowsPath(image).anchor:  # a colon in a name, which is no drive
        image = f"./{image}"
    image = as_text(image).replace("\\", "_")  # which no prompt set has in a path
    case = PromptCase.of(image, prompts, labels, fingerprint)
    name = as_text(scan.name) or "scan"
    return PromptSet(name=name, description="As asked of sam-moe predict.", cases=(case,))


def as_text(name: object) -> str:
    """A path or word as text that any file takes, with escapes for bytes that are no letters."""
    return str(name).encode("utf-8", "backslashreplace").decode("utf-8")


def read_record(path: Path, error_class: type[SamMoeError] = FileError) -> Manifest | Begun:
    """Read what lies at a mask's `.run.json`.

    Raises:
        error_class: for what is neither a manifest nor the record of a mask that is being replaced.
    """
    data = read_object(path, error_class)
    if data.get("kind") == "begun":
        return check_json(Begun, data, path, error_class)
    return check_json(Manifest, data, path, error_class)


def read_prompts(path: Path) -> PromptSet:
    """Read the prompts of a manifest, of a run that was begun, or of a plain prompt set.

    Raises:
        PromptError: naming the file and the field.
    """
    if path.name.endswith(RECORD):
        prompts = read_record(path, PromptError).prompts
        if prompts is None:
            raise PromptError(
                f"{path}: of a run without prompts. Expected a prompt set, or the record of sam-moe predict."
            )
        return prompts
    return read_json(PromptSet, path, PromptError)


def case_for(prompts: PromptSet, file: Path, scan: Path) -> PromptCase:
    """The case of a prompt set that speaks of this scan; the only case of a set speaks of any.

    Raises:
        PromptError: where there are several and none, or more than one, names the scan.
    """
    if len(prompts.cases) == 1:
        return prompts.cases[0]
    named = [case for case in prompts.cases if (file.parent / case.image).resolve() == scan.resolve()]
    if len(named) != 1:
        images = ", ".join(case.image for case in prompts.cases[:10])
        raise PromptError(
            f"{file}: {'no' if not named else 'more than one'} case is about {scan}. It is about: {images}. "
            "Give one of these scans (paths are relative to the prompt file)."
        )
    return named[0]


def now() -> datetime:
    """The time, UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0)
