"""Trains a model of nothing but a name on phantoms: run by tests in fresh, killed and parallel processes.

tiny.py train FOLDER STEPS      train, save at every step, print the SHA-256 of what was learnt
tiny.py kill FOLDER STEPS       train, killed at every single file operation in turn; print a report
tiny.py share FOLDER            one step in several processes; each leaves its gradients and weights
"""

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import torch
from accelerate import PartialState
from torch.optim.optimizer import register_optimizer_step_pre_hook

from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.systems.sam_med3d_moe.pretrain.learner import PromptedLoss, fresh_model
from sam_moe.systems.sam_med3d_moe.prompted.regions import Cut, Regions
from sam_moe.training.engine.loop import Learner, Reporting, Run, train
from sam_moe.training.engine.samples import Samples
from sam_moe.training.engine.schedule import Schedule

SIZES = Sizes(16, 8, 24, 2, 2, 3, (1,), 48, 16, 8, 2, 8, corner_embeddings=True)
CHANGES = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree"}


def learn(folder, steps, batch_size=1, report=None):
    """Train; returns a digest of the model, its average and all of the optimiser."""
    torch.set_num_threads(1)
    model = fresh_model(SIZES, 0)
    stream = Regions([], Cut(16), 1)
    schedule = Schedule(steps, batch_size, 3e-3, warmup=2, save_every=1, log_every=1, clip=1e9)
    learner, reporting = Learner(PromptedLoss(model), model), Reporting(row=report)
    kept = train(learner, Samples(stream), schedule, Run(folder, 1), None, reporting)
    digest = hashlib.sha256()
    for name, tensor in [*model.state_dict().items(), *kept.weights.items()]:
        digest.update(name.encode() + tensor.numpy().tobytes())
    rows = [json.loads(line)["step"] for line in (folder / "log.jsonl").read_text().splitlines()]
    return f"{digest.hexdigest()} {rows}"


def die(row):
    """Die as by a kill when step 3 is reported, which is before it is saved."""
    if row["step"] == 3:
        os.kill(os.getpid(), signal.SIGKILL)


def child(work):
    """Run in a copy of this process; returns its exit status, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return pid


def ended(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def until_operation(number, folder, work):
    """Work until just before file operation `number` inside the folder, then be killed; none is exempt."""
    seen = 0

    def hook(event, args):
        nonlocal seen
        if event not in CHANGES:
            return
        inside = str(args[0]).startswith(str(folder)) or event in (
            "os.remove",
            "os.rmdir",
        )  # relative in rmtree
        writes = event != "open" or (isinstance(args[1], str) and bool(set(args[1]) & set("wax")))
        if not (inside and writes):
            return
        seen += 1
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    work()


def killed_at(number, run, steps):
    """Train, killed just before file operation `number`; returns whether it came that far."""
    status = ended(child(lambda: until_operation(number, run, lambda: learn(run, steps))))
    assert status in (0, -signal.SIGKILL), status
    return status != 0


def saved(run):
    """The step that a run would go on from."""
    found = [run / name / "step.json" for name in ("checkpoint", "checkpoint.old")]
    return next((json.loads(path.read_text())["step"] for path in found if path.is_file()), 0)


def kill(folder, steps):
    """Kills at every operation, a second one somewhere after it, then to the end; kills at drawn moments.

    Where the first kill came between the renames, which leaves only the old checkpoint, the second one
    comes at every operation too.
    """
    folder.mkdir()
    wanted, draw = learn(folder / "whole", steps), random.Random(0)
    ends, killed, number, between, lost = set(), 0, 1, 0, 0
    while killed_at(number, run := folder / str(number), steps):
        only_old = (run / "checkpoint.old").exists() and not (run / "checkpoint").exists()
        between += only_old
        for second in range(1, 100) if only_old else [draw.randrange(1, 20)]:
            copy = folder / f"{number}-{second}"
            if run.exists():
                shutil.copytree(run, copy)
            again = killed_at(second, copy, steps)
            killed += 1 + again
            lost += saved(copy) < saved(run)
            ends.add(learn(copy, steps))
            if not again:
                break
        number += 1
    for moment in range(4):
        run = folder / f"moment{moment}"
        for _ in range(2):
            pid = child(lambda run=run: learn(run, steps))
            time.sleep(draw.uniform(0.02, 0.4))
            os.kill(pid, signal.SIGKILL)
            killed += ended(pid) != 0
        ends.add(learn(run, steps))
    print(json.dumps({"killed": killed, "between": between, "lost": lost, "same": ends == {wanted}}))


def share(folder):
    """Three steps; the gradients of the first, and the weights after the last."""
    first = []

    def keep(optimiser, *_):
        groups = optimiser.param_groups
        first.append([p.grad.clone() for group in groups for p in group["params"]])

    register_optimizer_step_pre_hook(keep)
    end = learn(folder, 3, batch_size=2)
    torch.save(
        {"gradients": first[0], "end": end.split()[0]}, folder / f"rank{PartialState().process_index}.pt"
    )


if __name__ == "__main__":
    verb, where = sys.argv[1], Path(sys.argv[2])
    if verb == "train":
        print(learn(where, int(sys.argv[3])))
    elif verb == "stop":
        learn(where, int(sys.argv[3]), report=die)
    elif verb == "kill":
        kill(where, int(sys.argv[3]))
    else:
        share(where)
