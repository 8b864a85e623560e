"""How quick pretraining is on this machine, stage by stage and whole, and which stage is the bottleneck.

    python -m benchmarks.speed.training [--recipe checkpoints/small/recipe.yaml] [--processes 2] [--steps 60]

The stages are measured in this process with one thread (or on the accelerator, where there is one); the whole
is a real training of a few steps by the recipe, over so many processes, into a folder that is thrown away. A
sample is one structure asked for in one region, by a click and by a box; a region is cut and encoded once for
all its samples. Needs the data folder (SAM_MOE_DATA). The last line is one JSON object.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from torch.utils.data import default_collate

from benchmarks.cases import DATA, ROOT
from sam_moe.processes import use_threads
from sam_moe.systems.sam_med3d_moe.pretrain.learner import PromptedLoss, fresh_model
from sam_moe.systems.sam_med3d_moe.pretrain.prepared import PLAN, Plan, read_plan
from sam_moe.systems.sam_med3d_moe.pretrain.recipe import pretrain
from sam_moe.systems.sam_med3d_moe.prompted.conversation import Prompting
from sam_moe.systems.sam_med3d_moe.prompted.regions import Appearance, Cut, Mix, Regions
from sam_moe.training.engine.average import Average
from sam_moe.training.engine.seeds import prompt_rng
from sam_moe.training.scans.cache import cache_path, read_cache


def main() -> None:
    """Print the stages, the whole and the JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", type=Path, default=ROOT / "checkpoints" / "small" / "recipe.yaml")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--steps", type=int, default=60)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        run = Path(name)
        changes = [
            f"run={run}",
            f"data.folder={DATA}",
            f"data.splits={ROOT / 'benchmarks' / 'splits.json'}",
            f"schedule.steps={asked.steps}",
            "validation_crops=0",
        ]
        pretrain(asked.recipe, changes, prepare=True)
        plan = read_plan(run / PLAN)
        stages = measure(plan, run)
        batch = plan.schedule.batch_size
        for stage, seconds in stages.items():
            print(f"{stage:44}{1000 * seconds / batch:8.1f} ms a region")
        bottleneck = max(stages, key=lambda stage: stages[stage])
        rate = whole(asked.recipe, changes, run, asked.processes)
    print(f"{asked.processes} processes: {rate:.2f} regions/s, {rate * plan.targets:.1f} samples/s")
    result = {
        "samples_per_s": round(rate * plan.targets, 2),
        "regions_per_s": round(rate, 3),
        "processes": asked.processes,
        "bottleneck": bottleneck,
        "ms_per_region": {stage: round(1000 * s / batch, 2) for stage, s in stages.items()},
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "torch": torch.__version__,
    }
    print(json.dumps(result))


def measure(plan: Plan, run: Path) -> dict[str, float]:
    """Median seconds of each stage for one batch, one thread on a CPU."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    use_threads(1)
    sizes = plan.architecture
    scans = read_cache(cache_path(run, "train"))
    stream = Regions(
        scans,
        Cut(sizes.image_size, targets=plan.targets),
        1,
        Mix(plan.weights, plan.phantom_share),
        Appearance(plan.spoil_share, plan.normalisation),
    )
    size = plan.schedule.batch_size
    numbers = iter(range(10**6))
    for _ in range(100):  # each scan lists its voxels when it is first met
        stream[next(numbers)]
    cut = [_seconds(lambda: stream[next(numbers)], device) for _ in range(40)]
    model = fresh_model(sizes, 0).to(device)
    optimiser = torch.optim.AdamW(p for p in model.parameters() if p.requires_grad)
    average = Average(model, 0.99)
    batch = {k: v.to(device) for k, v in default_collate([stream[n] for n in range(size)]).items()}

    def loss(depths: tuple[float, ...]) -> Callable[[], None]:
        asking = PromptedLoss(model, Prompting(depths))
        return lambda: asking(batch, prompt_rng(0, 0, 0)).backward()

    def keep() -> None:
        optimiser.step()
        average.update(model, 1)

    encode = _median(lambda: model.encode(batch["image"]).square().mean().backward(), device)
    first, second, third = (_median(loss((0.0,) * n + (1.0,)), device) for n in range(3))
    corrected = 1 - plan.corrections[0] / sum(plan.corrections)
    further = sum(n * p for n, p in enumerate(plan.corrections)) / sum(plan.corrections) - corrected
    return {
        "cutting regions": median(cut) * size,
        "encoding, forwards and backwards": encode,
        "first answers, forwards and backwards": first - encode,
        "corrections, as often as the recipe has them": (second - first) * corrected
        + (third - second) * further,
        "optimiser and averaging": _median(keep, device),
    }


def whole(recipe: Path, changes: list[str], run: Path, processes: int) -> float:
    """Regions a second of a real training, from the rows after its first third."""
    sets = [part for change in changes for part in ("--set", change)]
    command = ["-m", "sam_moe", "pretrain", str(recipe), *sets]
    if processes > 1:
        command = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", *command]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, *command], check=True, env=environment, stdout=subprocess.DEVNULL)
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    rates = [row["samples_per_s"] for row in rows if "samples_per_s" in row]
    return median(rates[len(rates) // 3 :])


def _median(work: Callable[[], object], device: torch.device, times: int = 7) -> float:
    work()
    return median(_seconds(work, device) for _ in range(times))


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    began = perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return perf_counter() - began


if __name__ == "__main__":
    main()
