"""The demonstration: the scan that ships, segmented from a point and from a box, against its label."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import Field

from sam_moe.config import Record, read_json
from sam_moe.errors import FileError
from sam_moe.predict.picture import overlay
from sam_moe.predict.predictor import Predictor
from sam_moe.predict.scene import Scene
from sam_moe.prompts.prompt import Box, Item, Point, Prompt
from sam_moe.registry import shipped
from sam_moe.space.files import read, same_grid
from sam_moe.space.volume import Volume

CASE = "case.json"

_SUFFIX = ".nii.gz"


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
    scan: str = Field(description="File beside this one.")
    label: str = Field(description="File beside this one, on the same grid.")
    targets: tuple[DemoTarget, ...] = Field(min_length=1)
    licence: str
    attribution: str


def demo_case() -> tuple[DemoCase, Path]:
    """The case that ships, and the folder it lies in."""
    folder = shipped("demo")
    return read_json(DemoCase, folder / CASE, FileError), folder


def run(out: Path, load: Callable[[], Predictor], tell: Callable[[str, float], None]) -> str:
    """Segment every target from a point and from a box; write masks and one picture; report in lines."""
    case, folder = demo_case()
    _make(out)
    tell("loading the model", 0.0)
    predictor = load()
    tell("reading the scan", 0.0)
    predictor.open(folder / case.scan)
    label = read(folder / case.label)
    same_grid(predictor.scan.grid, label.grid)
    predictor.progress = tell
    lines, scenes, written = [], [], []
    for target in case.targets:
        truth = Volume(label.array == target.value, label.grid)
        masks, found = {}, []
        for how, item in target.prompts.items():
            prediction = predictor.predict(item)
            dice = prediction.dice(truth)
            found.append(f"Dice {dice:.3f} from a {how}")
            lines.append(f"{target.name}, {item}: {prediction} · Dice {dice:.3f}")
            masks[f"from a {how}"] = prediction.mask
            path = out / f"{target.name}.{how}{_SUFFIX}"
            prediction.save(path)
            written.append(path)
        title = f"{target.name} · {' · '.join(found)} · {predictor.model_id}"
        prompt = Prompt(tuple(target.prompts.values()))
        scenes.append(Scene(predictor.scan, masks, prompt, title, truth.array))
    tell("drawing", 0.0)
    picture = out / "demo.png"
    overlay(picture, scenes)
    lines.append(f"Masks: {', '.join(map(str, written))}")
    lines.append(f"Picture: {picture}")
    lines.append(f"Scan: {folder / case.scan} ({case.attribution}; {case.licence})")
    return "\n".join(lines)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"{folder}: cannot be made ({error.strerror}). Choose another folder.") from error
