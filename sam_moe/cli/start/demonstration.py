"""The demonstration: the scans that ship, segmented from a point and from a box, against their labels."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import Field

from sam_moe.config import Record, read_json
from sam_moe.errors import FileError
from sam_moe.files import check_writable, make_folder, read_bytes, replace_text
from sam_moe.ownership import check_folder, check_ours, picture, record, sha256_or_none
from sam_moe.pictures.overlay import overlay
from sam_moe.pictures.scene import Scene
from sam_moe.predict.model import Model
from sam_moe.predict.prediction import Prediction
from sam_moe.progress import Progress
from sam_moe.prompts.prompt import Box, Item, Point, Prompt
from sam_moe.registry import shipped
from sam_moe.space.files import labels_beside, labels_text, read, same_grid, write_mask
from sam_moe.space.volume import Volume

CASES = ("mr", "ct")
CASE = "case.json"

LEDGER = "demo.json"
_SUFFIX = ".nii.gz"
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


def run(out: Path, load: Callable[[], Model], progress: Progress, *, force: bool = False) -> str:
    """Segment every target of every case; write masks and a picture of each case; report in lines.

    Raises:
        FileError: where a file that no demonstration wrote is in the way, unless `force` is set.
    """
    cases = demo_cases()
    ledger = _Ledger(out / LEDGER, force)
    for folder, case in cases.items():
        check_folder(out, {f"{folder.name}.png": picture}, force=force)
        for target in case.targets:
            for how in target.prompts:
                ledger.check(_mask_of(out / folder.name, target, how))
    for folder in cases:
        make_folder(out / folder.name)
        check_writable(out / folder.name)
    progress("loading the model", 0.0)
    model = load()
    parts = [
        _show(case, folder, out / folder.name, model, progress, ledger) for folder, case in cases.items()
    ]
    return "\n\n".join([*parts, _DICE])


class _Ledger:
    """The checksums of the masks that demonstrations wrote into a folder, by which they are known as ours."""

    def __init__(self, path: Path, force: bool) -> None:
        check_ours(path, record("kind", "files_sha256"), force=force)
        self._path, self._force = path, force
        self._known = _known(path)

    def check(self, mask: Path) -> None:
        """Refuse to replace a mask, or names of one, that no demonstration wrote."""
        check_ours(mask, lambda path: sha256_or_none(path) in self._known, force=self._force)
        names = labels_text(_NAMES, mask)
        check_ours(labels_beside(mask), lambda path: read_bytes(path) == names.encode(), force=self._force)

    def save(self, prediction: Prediction, mask: Path) -> None:
        """Write a mask, its checksum before it."""
        write_mask(mask, prediction.mask, prediction.grid, _NAMES, self._add)

    def _add(self, new: Path) -> None:
        self._known = sorted({*self._known, str(sha256_or_none(new))})
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
    drawn = masks_folder.parent / f"{name}.png"
    overlay(drawn, scenes)
    lines.append(f"  picture {drawn}, masks in {masks_folder}")
    lines.append(f"  scan: {case.attribution} Licence: {case.licence}.")
    return "\n".join(lines)
