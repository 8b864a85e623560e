"""A small challenge in a folder, and a quick system that answers from intensities."""

from pathlib import Path

import numpy as np
import torch
import yaml

from sam_moe.evaluation.asking.protocols import scripts_for
from sam_moe.evaluation.asking.steps import ALL
from sam_moe.evaluation.asking.systems import Reply
from sam_moe.evaluation.challenge.challenge import Challenge, load_challenge
from sam_moe.evaluation.evaluate import evaluate
from sam_moe.evaluation.finishing import EvaluationRequest
from sam_moe.progress import silent
from sam_moe.prompts import Box, Prompt
from sam_moe.prompts.lowering import Lowering, lower
from sam_moe.space.files import write_mask, write_volume
from sam_moe.space.grid import Grid
from sam_moe.space.phantom import ball

GRID = Grid.around((0, 0, 0), (24, 22, 20), (3.0, 3.0, 4.0))
REACH_MM = 12.0


class Growing:
    """Bright voxels within 12 mm of a positive click, or in the box, and nearer to no negative one."""

    supports = frozenset({"point", "box"})

    def __init__(self, id="growing", fails_on=""):
        self.id, self.fails_on, self.asked = id, fails_on, 0

    def open(self, scan):
        self.scan = scan
        self.bright = (scan.array > 150).numpy()
        self.index = np.indices(scan.grid.shape).reshape(3, -1).T

    def answer(self, items):
        self.asked += 1
        if self.fails_on == "answer" or (self.fails_on == "second" and len(items) == 2):
            raise RuntimeError("out of\nmemory")
        near = np.zeros(self.scan.grid.shape, bool)
        for item in items:
            if isinstance(item, Box):
                low, high = (np.array(corner).astype(int) for corner in (item.start, item.stop))
                near[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
                continue
            off_mm = np.linalg.norm((self.index - item.at) * self.scan.grid.spacing_mm, axis=1)
            ball_mm = REACH_MM if item.positive else 6.0
            near[(off_mm <= ball_mm).reshape(near.shape)] = item.positive
        return Reply(near & self.bright, {"all": 1.0}, {"all": 0.75})

    def describe(self):
        return {"id": self.id, "licence": "CC0-1.0"}


class Drawn(Growing):
    """The same of what is drawn on one slice, lowered to clicks."""

    supports = ALL

    def answer(self, items):
        grid = self.scan.grid
        rules = Lowering(flat_box="middle")
        return super().answer(
            lower(Prompt(tuple(items)), grid.affine, grid.shape, rules).in_voxels(grid.affine)
        )


class Bright:
    """Takes no prompts: all bright voxels are the "ball"; it also knows a "stone", which no scan has."""

    structures = frozenset({"ball", "stone"})

    def __init__(self, id="bright", fails_on="", halves=False, above=150):
        self.id, self.fails_on, self.halves, self.above, self.segmented = id, fails_on, halves, above, 0

    def open(self, scan):
        if self.fails_on == "open":
            raise ValueError("too large for me")
        self.scan = scan

    def segment(self, names):
        self.segmented += 1
        if self.fails_on == "segment":
            raise RuntimeError("out of\nmemory")
        bright = (self.scan.array > self.above).numpy()
        if self.fails_on == "grid":
            return {"ball": Reply(bright[1:])}
        if not self.halves:
            return {"ball": Reply(bright, {"ct": 0.9, "mr": 0.1}, why="like CT")}
        left, right = bright.copy(), bright.copy()
        left[12:], right[:12] = False, False
        return {"left": Reply(left), "right": Reply(right)}

    def describe(self):
        return {"id": self.id, "licence": "CC0-1.0"}


def growing():
    """One system; importable, so that other processes can make it too."""
    return (Growing(),)


def drawing():
    """One that is asked by what is drawn, too."""
    return (Drawn("drawing"),)


def two():
    """Two systems."""
    return (Growing(), Growing("other"))


def beside():
    """A system that takes no prompts beside one that does."""
    return (Bright(above=195), Growing())


def write_challenge(folder: Path, cases: int = 3, **changes) -> Path:
    """Phantoms of `cases` patients and the YAML over them; gives the YAML's path."""
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    for number in range(cases):
        scan, truth = ball(torch.Generator().manual_seed(number), GRID, radius_mm=16.0 + number)
        write_volume(folder / "images" / f"p{number}_a.nii.gz", scan)
        write_mask(folder / "labels" / f"p{number}_a.nii.gz", truth.array, truth.grid)
    data = {
        "name": "phantoms",
        "sets": [{"layout": "folders", "root": ".", "patient": "^(p[0-9]+)"}],
        "labels": {"ball": [1]},
    } | changes
    path = folder / "challenge.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return path


def phantoms(folder: Path, cases: int = 3, **changes) -> Challenge:
    """The same, read."""
    return load_challenge(write_challenge(folder, cases, **changes), folder)


def run(challenge, out, make=growing, protocol="clicks", **options):
    """Evaluate quietly."""
    scripts = options.pop("scripts", None) or scripts_for(protocol)
    return evaluate(EvaluationRequest(challenge, scripts, out, **options), make, silent)


def untimed(rows):
    """Rows without their seconds, which no two runs share."""
    return [row.model_copy(update={"seconds": None}) for row in rows]
