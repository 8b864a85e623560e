"""Many cases: how long one takes when a whole set is worked through, by one process and by two."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import torch

from benchmarks.cases import ROOT
from benchmarks.speed.rows import Row
from benchmarks.speed.sections.scans import ORGANS, scan_of
from sam_moe.config import write_json
from sam_moe.prompts import Point, Prompt
from sam_moe.prompts.promptset import PromptCase, PromptSet
from sam_moe.space.files import write_mask, write_volume
from sam_moe.space.volume import Volume

SECTION = "many cases of small, from a folder to a folder, 128x128x96 voxels"
FEW = 4
QUICKER = 1.6  # two processes than one
_ASKED = ("liver", "aorta")
_STARTING = "what {0} cases take beyond {1}, by case: starting is left out; memory: see many_scans.py"

Command = Callable[[Path, int, Path, int], list[str]]


def many(cases: int) -> list[Row]:
    """Prediction: a click on each of two structures. Evaluation: five clicks on each, every answer scored."""
    return [*compared("prediction", predicting, cases), *compared("evaluation", evaluating, cases)]


def predicting(folder: Path, count: int, out: Path, processes: int) -> list[str]:
    """The command that segments so many of the cases."""
    prompts = folder / f"prompts-{count}.json"
    asked = {name: Prompt((Point(ORGANS[name], space="mm"),)) for name in _ASKED}
    cases = tuple(PromptCase.of(f"case_{number:02d}.nii.gz", asked) for number in range(count))
    write_json(PromptSet(name="speed", description="Two organs a case.", cases=cases), prompts)
    launch = ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", "-m"]
    command = ["sam_moe", "predict", str(folder / "images"), "--prompts", str(prompts), "--out", str(out)]
    return [*(launch if processes > 1 else []), *command, "--model", "small", "--device", "cpu"]


def evaluating(folder: Path, count: int, out: Path, processes: int) -> list[str]:
    """The command that evaluates so many of the cases."""
    challenge = folder / f"challenge-{count}.yaml"
    labels = "".join(f"  {name}: [{value}]\n" for value, name in enumerate(_ASKED, start=1))
    cases = ", ".join(f"case_{number:02d}" for number in range(count))
    challenge.write_text(
        f"name: speed\nsets:\n  - layout: folders\n    root: {folder}\n    cases: [{cases}]\n"
        f"labels:\n{labels}protocol: clicks\n",
        encoding="utf-8",
    )
    asked = ["--system", "small", "--device", "cpu", "--processes", str(processes)]
    return ["sam_moe", "evaluate", str(challenge), *asked, "--out", str(out)]


def compared(name: str, command: Command, cases: int) -> list[Row]:
    """A row for one process and one for two, against one; so many cases beyond a few."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_cases(folder, cases)
        for processes in (1, 2):
            taken = {}
            for count in (FEW, cases):
                out = folder / f"{name}-{processes}-{count}"
                taken[count] = watched(command(folder, count, out, processes))
            each = (taken[cases] - taken[FEW]) / (cases - FEW)
            rows.append(
                Row(
                    SECTION, f"{name}, {processes} process{'es' * (processes > 1)}: {60 / each:.0f} a minute",
                    seconds=each, low=each, high=each, times=1,
                    plain_seconds=rows[0].seconds if rows else None,
                    ratio=rows[0].seconds / each if rows else None,
                    plain_is="one process, with all threads" if rows else "",
                    bar=QUICKER if rows else None,
                    note=_STARTING.format(cases, FEW),
                )
            )  # fmt: skip
    return rows


def write_cases(folder: Path, cases: int) -> None:
    """Scans and labels of the same names, organs where they lie."""
    for name in ("images", "labels"):
        (folder / name).mkdir()
    for number in range(cases):
        scan = scan_of((128, 128, 96), (3, 3, 3), seed=number)
        label = torch.zeros(scan.grid.shape, dtype=torch.uint8)
        for value, organ in enumerate(_ASKED, start=1):
            at = torch.from_numpy(scan.grid.index_of(ORGANS[organ]))
            index = torch.stack(
                torch.meshgrid(*(torch.arange(n) for n in label.shape), indexing="ij"), dim=-1
            )
            label[((index - at) * 3).square().sum(-1) < 15**2] = value
        write_volume(folder / "images" / f"case_{number:02d}.nii.gz", Volume(scan.array, scan.grid))
        write_mask(folder / "labels" / f"case_{number:02d}.nii.gz", label, scan.grid)


def watched(arguments: list[str]) -> float:
    """Seconds of a command. Not its memory: a child's peak begins with what this process holds."""
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    environment["PYTHONPATH"] = str(ROOT)
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        start = perf_counter()
        command = [sys.executable, "-m", *arguments]
        ended = subprocess.run(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        seconds = perf_counter() - start
        if ended.returncode:
            output.seek(0)
            raise SystemExit(f"python -m {' '.join(arguments)} failed:\n{output.read()[-2000:]}")
    return seconds
