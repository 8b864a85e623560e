"""Tables of prompts made by hand, and what two processes learn of one.

tables.py FOLDER: three steps of a gate's training; each process leaves its first gradients and last weights
"""

import sys
from pathlib import Path

import torch
from accelerate import PartialState
from torch.optim.optimizer import register_optimizer_step_pre_hook

from sam_moe.systems.sam_med3d_moe.gate import GateInput
from sam_moe.systems.sam_med3d_moe.train_gate.fitting import Objective, Tables, fit_gate, fresh_gate
from sam_moe.systems.sam_med3d_moe.train_gate.table import GateTable
from sam_moe.training.engine.loop import Reporting, Run
from sam_moe.training.engine.schedule import Schedule

FEATURES = 6


def by_hand(owner, scores, structure=None, names=None, scan=None):
    """A table with these owners and scores, of two scans in turn, and noise for what the gate sees."""
    rows = len(owner)
    rng = torch.Generator().manual_seed(0)
    structure = owner if structure is None else structure
    names = names or tuple(f"structure {n}" for n in range(max(structure) + 1))
    plain = torch.zeros(rows, dtype=torch.long)
    seen = GateInput(*(torch.randn(rows, FEATURES, generator=rng).half() for _ in range(3)))
    numbers = (torch.tensor(x) for x in (owner, scores, structure))
    owned, scored, structures = numbers
    scans = torch.arange(rows) % 2 if scan is None else torch.tensor(scan)
    return GateTable(seen, owned, scored, plain, plain, torch.arange(rows), structures, scans, names)


def crossed(rows=240, seed=0):
    """A table that image alone and prompt alone know nothing of: the owner is 1 where their signs differ."""
    rng = torch.Generator().manual_seed(seed)
    image, prompt = (torch.randint(2, (rows,), generator=rng) for _ in range(2))
    parts = [torch.randn(rows, FEATURES, generator=rng) * 0.1 for _ in range(3)]
    parts[0][:, 0] += 4 * image - 2
    parts[2][:, 0] += 4 * prompt - 2
    owner = image ^ prompt
    plain = torch.zeros(rows, dtype=torch.long)
    scores = torch.nn.functional.one_hot(owner, 2).float()
    seen = GateInput(*(part.half() for part in parts))
    return GateTable(seen, owner, scores, plain, plain, torch.arange(rows), owner, plain, ("organ", "cord"))


def learn(folder, steps=8, mode="both", batch_size=8, report=None, **more):
    """Train a gate on the crossed table."""
    torch.set_num_threads(1)
    gate = fresh_gate(FEATURES, 2, 16, mode, 0)
    schedule = Schedule(steps, batch_size, 0.01, warmup=2, save_every=2, log_every=1, average=0.9, clip=1e9)
    return fit_gate(
        gate,
        Tables(crossed(), crossed(seed=1)),
        Objective(noise=0.1, **more),
        schedule,
        Run(folder, 1),
        validate_every=4,
        reporting=Reporting(row=report),
    )


def share(folder):
    first = []

    def keep(optimiser, *_):
        first.append([p.grad.clone() for group in optimiser.param_groups for p in group["params"]])

    register_optimizer_step_pre_hook(keep)
    kept = learn(folder, 3)
    torch.save({"first": first[0], "end": kept.weights}, folder / f"rank{PartialState().process_index}.pt")


if __name__ == "__main__":
    share(Path(sys.argv[1]))
