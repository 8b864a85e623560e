"""Scans a minute of `sam-moe predict` over a folder: one by one, overlapped, in several processes.

    python -m benchmarks.speed.many_scans [--model small] [--scans 24] [--shape 256x256x120] [--processes 2]

The scans are synthetic .nii.gz files with two prompts each, one a click and one a box. `one by one` reads,
answers and writes each scan before the next, in one process with all threads; it is the plain way that the
others are held against. Loading Python and torch is not counted, loading the model is. The last line is one
JSON object.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from sam_moe.cli.options import Computing
from sam_moe.cli.predict.loading import loaded
from sam_moe.predict.files.command import run
from sam_moe.predict.files.scans import prompted
from sam_moe.processes import processors, share_threads
from sam_moe.progress import silent
from sam_moe.prompts import Box, Point, Prompt
from sam_moe.prompts.promptset import PromptCase, PromptSet, write
from sam_moe.space.files import write_volume
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume


def make(folder: Path, count: int, shape: tuple[int, int, int]) -> Path:
    """Noise with a bright cube in its middle, int16 as files have it; returns the prompt file."""
    generator, grid = torch.Generator().manual_seed(0), Grid.around((0, 0, 0), shape, (1, 1, 2))
    i, j, k = (n // 2 for n in shape)
    cases = []
    for number in range(count):
        array = (50 * torch.randn(shape[::-1], generator=generator)).short().permute(2, 1, 0)
        array[i - 16 : i + 16, j - 16 : j + 16, k - 8 : k + 8] += 600
        write_volume(folder / f"{number}.nii.gz", Volume(array, grid))
        prompts = {
            "click": Prompt((Point((float(i), float(j), float(k))),)),
            "box": Prompt((Box((i - 17.0, j - 17.0, k - 9.0), (i + 17.0, j + 17.0, k + 9.0)),)),
        }
        cases.append(PromptCase.of(f"{number}.nii.gz", prompts))
    write(PromptSet(name="many", cases=tuple(cases)), folder / "prompts.json")
    return folder / "prompts.json"


def one_by_one(scans: Path, prompts: Path, out: Path, model: str) -> float:
    """Seconds for all, each from its file to its mask before the next is touched."""
    out.mkdir()
    start = perf_counter()
    ready = loaded(model, Computing("cpu"))
    for request in prompted(scans, prompts, out):
        run(request, lambda: ready, silent)
    return perf_counter() - start


def launched(scans: Path, prompts: Path, out: Path, model: str, processes: int) -> float:
    """Seconds that the command itself reports."""
    alone = [sys.executable]
    several = [*alone, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    words = [
        "-m",
        "sam_moe",
        "predict",
        scans,
        "--prompts",
        prompts,
        "--out",
        out,
        "--model",
        model,
        "--json",
    ]
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [*(several if processes > 1 else alone), *map(str, words), "--device", "cpu"],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert all(case["state"] == "done" for case in report["cases"])
    return float(report["seconds"])


def main() -> None:
    """Print the table and the JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="small")
    parser.add_argument("--scans", type=int, default=24)
    parser.add_argument("--shape", default="256x256x120")
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    i, j, k = map(int, asked.shape.split("x"))
    share_threads()
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as place:
        scans = Path(place)
        prompts = make(scans, asked.scans, (i, j, k))
        figures["one by one"] = one_by_one(scans, prompts, scans / "plain", asked.model)
        for count in (1, asked.processes):
            name = f"{count} process{'es' if count > 1 else ''}"
            figures[name] = launched(scans, prompts, scans / f"by{count}", asked.model, count)
    print(f"{asked.scans} scans of {asked.shape}, 2 targets each, {asked.model}, {processors()} processors\n")
    for name, seconds in figures.items():
        ratio = figures["one by one"] / seconds
        print(f"{name:12} {seconds:7.1f} s {60 * asked.scans / seconds:7.0f} scans a minute {ratio:6.2f} x")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"\nlargest process of the command: {peak:.0f} MB")
    print(json.dumps({name: round(seconds, 2) for name, seconds in figures.items()}))


if __name__ == "__main__":
    main()
