"""A machine with torch, numpy, jaxtyping, accelerate and safetensors alone can train from a cache."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import sys

MISSING = {
    "pydantic", "nibabel", "SimpleITK", "monai", "torchio", "scipy", "typer", "rich", "matplotlib",
    "segment_anything", "torchvision", "beartype", "pytest",
}

class Bare:
    "Finds what another finder finds, but for what is missing."

    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in MISSING else self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = [Bare(finder) for finder in sys.meta_path]
from pathlib import Path

import torch

torch.set_num_threads(1)
from sam_moe.sam3d.sizes import Sizes
from sam_moe.training import crops, general, loop, losses, phantoms, prompting, sources, validation

cache, folder = Path(sys.argv[1]), Path(sys.argv[2])
sizes = Sizes(16, 8, 24, 2, 2, 3, (1,), 48, 16, 8, 2, 8, corner_embeddings=True)
scans = sources.read_cache(cache)
model = general.fresh_model(sizes, 0)
stream = general.Regions(scans, 16, 1, 10**6, {}, 0.1)
validate = validation.Validation(lambda: scans, sizes, 2)
schedule = loop.Schedule(1, 2, 1e-3, save_every=1)
kept = loop.train(general.PromptedLoss(model), model, stream, schedule, folder, 1, validate=validate)
print(kept.step, kept.figures["score"] >= 0, MISSING & set(sys.modules))
"""


@pytest.mark.slow
def test_a_bare_machine_trains_from_a_cache(scans, tmp_path):
    cache = tmp_path / "train.safetensors"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, cache, tmp_path / "run"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout == "1 True set()\n", done.stderr[-3000:]
    assert (tmp_path / "run" / "best.safetensors").is_file()
