"""The demonstration: the scans that ship, from a point, from a box and without a prompt, against labels."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field
from torch import Tensor

from sam_moe.cases.dataset import read_dataset
from sam_moe.cli.start.labelling import labelled
from sam_moe.config import Record, read_json
from sam_moe.errors import FileError
from sam_moe.files import check_writable, make_folder, read_bytes, replace_text
from sam_moe.ownership import check_folder, check_ours, picture, record, sha256_or_none
from sam_moe.pictures.overlay import overlay
from sam_moe.pictures.scene import Scene
from sam_moe.predict.automatic.model import AutomaticModel
from sam_moe.predict.model import Model
from sam_moe.predict.prediction import LabelMap, Prediction
from sam_moe.progress import Progress
from sam_moe.prompts.prompt import Box, Item, Point, Prompt
from sam_moe.registry import shipped
from sam_moe.space.files import labels_beside, labels_text, read, same_grid, write_mask
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume

CASES = ("mr", "ct")
CASE = "case.json"

LEDGER = "demo.json"
_SUFFIX = ".nii.gz"
_LABELS = "labels" + _SUFFIX
_NAMES = {1: "target"}
_DICE = (
    "Dice compares with the labels that ship, for showing only: how good the model is, benchmarks/ measures."
)


class DemoTarget(Record):
    """A structure of the demonstration and how it is prompted, in voxels."""

    name: str = Field(min_length=1, pattern=r"^[\w-]+$", description="What it is called; part of file names.")
    value: int = Field(ge=1, description="Its value in the label.")
    point: tuple[float, float, float] = Field(description="A voxel (i, j, k) of it.")
    box: tuple[float, float, float, float, float, float] = Field(description="Half-open, start then stop.")

    @property
    def prompts(self) -> dict[str, Item]:
        """The two ways to ask for it."""
        return {"point": Point(self.point), "box": Box(self.box[:3], self.box[3:])}


class DemoCase(Record):
    """A scan that ships, its label, and what to ask of it."""

    format: Literal[1] = 1
    title: str = Field(min_length=1, description="What it shows: body part and modality.")
    scan: str = Field(description="File beside this one.")
    label: str = Field(description="File beside this one, on the same grid.")
    targets: tuple[DemoTarget, ...] = Field(min_length=1)
    licence: str
    attribution: str


def demo_cases() -> dict[Path, DemoCase]:
    """The cases that ship, by the folder each lies in."""
    folder = shipped("demo")
    return {folder / name: read_json(DemoCase, folder / name / CASE, FileError) for name in CASES}


@dataclass(frozen=True)
class Loads:
    """How the models of the demonstration are loaded, once it is known that it can write."""

    promptable: Callable[[], Model]
    automatic: Callable[[], AutomaticModel]


def run(out: Path, loads: Loads, progress: Progress, *, force: bool = False) -> str:
    """Segment every target of every case, then every case whole; write masks, labels and pictures.

    Raises:
        FileError: where a file that no demonstration wrote is in the way, unless `force` is set.
    """
    cases = demo_cases()
    ledger = _Ledger(out / LEDGER, force)
    for folder, case in cases.items():
        check_folder(out, {_picture(folder): picture, _picture(folder, True): picture}, force=force)
        ledger.check(out / folder.name / _LABELS)
        for target in case.targets:
            for how in target.prompts:
                ledger.check(_mask_of(out / folder.name, target, how))
    for folder in cases:
        make_folder(out / folder.name)
        check_writable(out / folder.name)
    progress("loading the model", 0.0)
    model, automatic = loads.promptable(), loads.automatic()
    parts = []
    for folder, case in cases.items():
        shown = _show(case, folder, out / folder.name, model, progress, ledger)
        parts.append("\n".join([shown, _label(case, folder, out / folder.name, automatic, progress, ledger)]))
    return "\n\n".join([*parts, _DICE])


class _Ledger:
    """The checksums of the masks that demonstrations wrote into a folder, by which they are known as ours."""

    def __init__(self, path: Path, force: bool) -> None:
        check_ours(path, record("kind", "files_sha256"), force=force)
        self._path, self._force = path, force
        self._known = _known(path)

    def check(self, mask: Path) -> None:
        """Refuse to replace a mask, or names of one, that no demonstration wrote."""
        for path in (mask, labels_beside(mask)):
            check_ours(path, lambda path: sha256_or_none(path) in self._known, force=self._force)

    def save(self, prediction: Prediction, mask: Path) -> None:
        """Write a mask, its checksum before it."""
        self._save(prediction.mask, prediction.grid, _NAMES, mask)

    def save_labels(self, found: LabelMap, path: Path) -> None:
        """Write a label map, its checksum before it."""
        self._save(found.labels, found.grid, found.names, path)

    def _save(self, mask: Tensor, grid: Grid, names: dict[int, str], path: Path) -> None:
        self._keep(hashlib.sha256(labels_text(names, path).encode()).hexdigest())
        write_mask(path, mask, grid, names, lambda new: self._keep(str(sha256_or_none(new))))

    def _keep(self, sha256: str) -> None:
        self._known = sorted({*self._known, sha256})
        kept = {"format": 1, "kind": "demo", "files_sha256": self._known}
        replace_text(self._path, json.dumps(kept, indent=2) + "\n")


def _known(path: Path) -> list[str]:
    try:
        return [str(one) for one in json.loads(read_bytes(path))["files_sha256"]]
    except (FileError, ValueError, KeyError, TypeError):
        return []


def _mask_of(folder: Path, target: DemoTarget, how: str) -> Path:
    return folder / f"{target.name}.{how}{_SUFFIX}"


def _show(
    case: DemoCase,
    folder: Path,
    masks_folder: Path,
    model: Model,
    progress: Progress,
    ledger: _Ledger,
) -> str:
    """One case: a line for each answer, then where the masks and the picture are, and whose scan it is."""
    name = folder.name
    progress(f"{name}: reading the scan", 0.0)
    predictor = model.open(folder / case.scan, progress=progress)
    label = read(folder / case.label)
    same_grid(predictor.scan.grid, label.grid)
    lines, scenes = [f"{case.title} ({folder / case.scan})"], []
    for target in case.targets:
        truth = Volume(label.array == target.value, label.grid)
        answers, found = {}, []
        for how, item in target.prompts.items():
            prediction = predictor.predict(item)
            dice = prediction.dice(truth)
            found.append(f"Dice {dice:.3f} from a {how}")
            lines.append(f"  {target.name}, {item}: {prediction} · Dice {dice:.3f}")
            answers[f"from a {how}"] = prediction.probability.array
            ledger.save(prediction, _mask_of(masks_folder, target, how))
        title = f"{target.name} · {' · '.join(found)} · {predictor.model_id}"
        prompt = Prompt(tuple(target.prompts.values()))
        scenes.append(Scene(predictor.scan, answers, prompt, title, truth.array))
    progress(f"{name}: drawing", 0.0)
    drawn = masks_folder.parent / _picture(folder)
    overlay(drawn, scenes)
    lines.append(f"  picture {drawn}, masks in {masks_folder}")
    return "\n".join(lines)


def _label(
    case: DemoCase,
    folder: Path,
    labels_folder: Path,
    model: AutomaticModel,
    progress: Progress,
    ledger: _Ledger,
) -> str:
    """One case without a prompt: a line for each structure, then where labels and picture are."""
    progress(f"{folder.name}: without a prompt", 0.0)
    about = next(each for each in read_dataset(folder.parent) if each.image == folder / case.scan)
    names = {name: value for value, name in about.names.items()}
    found, scene, lines = labelled(model, folder / case.scan, read(folder / case.label), names, progress)
    path = labels_folder / _LABELS
    ledger.save_labels(found, path)
    drawn = labels_folder.parent / _picture(folder, True)
    overlay(drawn, [scene])
    return f"{lines}\n  picture {drawn}, labels {path}\n  scan: {case.attribution} Licence: {case.licence}."


def _picture(folder: Path, labels: bool = False) -> str:
    return f"{folder.name}-labels.png" if labels else f"{folder.name}.png"
