"""The demonstration: the scans that ship, segmented from a point and from a box, against their labels."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import Field

from sam_moe.config import Record, read_json
from sam_moe.errors import FileError
from sam_moe.predict.model import Model
from sam_moe.predict.picture import overlay
from sam_moe.predict.scene import Scene
from sam_moe.prompts.prompt import Box, Item, Point, Prompt
from sam_moe.registry import shipped
from sam_moe.space.files import read, same_grid
from sam_moe.space.volume import Volume

CASES = ("mr", "ct")
CASE = "case.json"

_SUFFIX = ".nii.gz"
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


def run(out: Path, load: Callable[[], Model], tell: Callable[[str, float], None]) -> str:
    """Segment every target of every case; write masks and a picture of each case; report in lines."""
    cases = demo_cases()
    _make(out)
    tell("loading the model", 0.0)
    model = load()
    parts = [_show(case, folder, out, model, tell) for folder, case in cases.items()]
    return "\n\n".join([*parts, _DICE])


def _show(case: DemoCase, folder: Path, out: Path, model: Model, tell: Callable[[str, float], None]) -> str:
    """One case: a line for each answer, then where the masks and the picture are, and whose scan it is."""
    name = folder.name
    tell(f"{name}: reading the scan", 0.0)
    predictor = model.open(folder / case.scan, progress=tell)
    label = read(folder / case.label)
    same_grid(predictor.scan.grid, label.grid)
    masks_folder = out / name
    _make(masks_folder)
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
            prediction.save(masks_folder / f"{target.name}.{how}{_SUFFIX}")
        title = f"{target.name} · {' · '.join(found)} · {predictor.model_id}"
        prompt = Prompt(tuple(target.prompts.values()))
        scenes.append(Scene(predictor.scan, answers, prompt, title, truth.array))
    tell(f"{name}: drawing", 0.0)
    picture = out / f"{name}.png"
    overlay(picture, scenes)
    lines.append(f"  picture {picture}, masks in {masks_folder}")
    lines.append(f"  scan: {case.attribution} Licence: {case.licence}.")
    return "\n".join(lines)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"{folder}: cannot be made ({error.strerror}). Choose another folder.") from error
