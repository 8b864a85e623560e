"""Time and memory of clicks on a scan of 512 x 512 x 300 voxels, every stage by itself.

    python -m benchmarks.speed.large_scan [--model small] [--full-size]

`--full-size` answers with the public model's sizes and random weights. The scan is synthetic (a body,
organs, noise) and is written to and read from a NIfTI file as a person's would be. The last line is one
JSON object.
"""

import argparse
import json
import resource
import tempfile
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import torch

import sam_moe
from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.promptable import PromptableSam3D
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.predict.model import Model
from sam_moe.processes import threads
from sam_moe.prompts import Point
from sam_moe.registry import Preprocessing
from sam_moe.space.files import read, write_volume
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume

SHAPE, SPACING = (512, 512, 300), (0.75, 0.75, 1.5)


def scan() -> Volume:
    """A body with three organs, int16 as CT is stored."""
    grid = Grid.around((0, 0, 0), SHAPE, SPACING)
    line = [torch.linspace(-1, 1, n) for n in SHAPE]
    x, y, z = line[0][:, None, None], line[1][None, :, None], line[2][None, None, :]
    array = torch.full(SHAPE, -1000, dtype=torch.int16)
    for (i, j, k), (a, b, c), value in (
        ((0, 0, 0), (0.8, 0.6, 1.2), 0),
        ((0.3, 0.0, 0.1), (0.25, 0.3, 0.25), 90),
        ((-0.4, 0.1, 0.0), (0.15, 0.15, 0.2), 60),
        ((0.0, -0.4, 0.0), (0.1, 0.1, 1.5), 400),
    ):
        array[((x - i) / a) ** 2 + ((y - j) / b) ** 2 + ((z - k) / c) ** 2 < 1] = value
    return Volume(array + (20 * torch.randn(SHAPE)).to(torch.int16), grid)


def peak_mb() -> float:
    """The process's largest resident memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print the table and the JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="small")
    parser.add_argument("--full-size", action="store_true")
    asked = parser.parse_args()
    torch.manual_seed(0)
    if asked.full_size:
        public = Preprocessing(region_voxels=128, spacing_mm=1.5, normalisation="positive")
        network = SamMed3D(Sizes()).eval().requires_grad_(False)
        model = Model(PromptableSam3D(network, "positive", "mask"), public, "random")
    else:
        model = sam_moe.load(asked.model)
    model = replace(model, whole_targets=False)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scan.nii"
        write_volume(path, scan())
        before, start = peak_mb(), perf_counter()
        volume = read(path)
        reading = perf_counter() - start
    start = perf_counter()
    predictor = model.open(volume)
    opening = perf_counter() - start
    first = predictor.predict(Point((333, 256, 165)))
    second = predictor.refine(Point((320, 250, 160)))
    print(f"{'x'.join(map(str, SHAPE))} voxels, {threads()} threads, {predictor.model_id}")
    print(
        f"reading {reading:.2f} s, opening {opening:.2f} s, peak {peak_mb():.0f} MB ({before:.0f} MB before)"
    )
    for name, found in (("first click", first), ("second click", second)):
        stages = ", ".join(f"{k} {v:.0f}" for k, v in found.timings_ms.items())
        print(f"{name}: {found.latency_ms:.0f} ms ({stages})")
    figures = {
        "first_ms": round(first.latency_ms),
        "second_ms": round(second.latency_ms),
        "reading_s": round(reading, 2),
        "peak_mb": round(peak_mb()),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
