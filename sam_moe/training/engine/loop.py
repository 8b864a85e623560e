"""The loop that all trainings share: Accelerate, averaged weights, exact resuming, the best that was met."""

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.tracking import get_available_trackers
from accelerate.utils import InitProcessGroupKwargs
from torch import Tensor, nn

from sam_moe.errors import ConfigError, SamMoeError
from sam_moe.files import make_folder, replacing
from sam_moe.processes import cpu_alone
from sam_moe.training.engine import checkpoint
from sam_moe.training.engine.average import Average
from sam_moe.training.engine.best import BEST, Kept, Validation, keep_best, read_best
from sam_moe.training.engine.machines import PATIENCE
from sam_moe.training.engine.precision import Precision, mixed_precision
from sam_moe.training.engine.runlog import Row, RunLog
from sam_moe.training.engine.samples import Batch, Samples, Share, batches
from sam_moe.training.engine.schedule import Schedule
from sam_moe.training.engine.seeds import prompt_rng, step_seed

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Learner:
    """What learns.

    Args:
        loss: `loss(batch, rng)` returns the scalar to minimise; all of its parameters that need a gradient
            learn. `rng` is the generator of this step and process; torch's own is seeded for the step, too.
        model: the part of the loss whose averaged weights are the result.
    """

    loss: nn.Module
    model: nn.Module


@dataclass(frozen=True)
class Run:
    """Where a training is kept, what its chance comes from, and which numbers it computes in."""

    folder: Path
    seed: int
    precision: Precision = "float32"


@dataclass(frozen=True)
class Reporting:
    """Who is informed of a training: an Accelerate tracker by name, and a function called with each row."""

    tracker: str | None = None
    row: Callable[[Row], None] | None = None


QUIET = Reporting()


def train(
    learner: Learner,
    samples: Samples,
    schedule: Schedule,
    run: Run,
    validation: Validation | None = None,
    reporting: Reporting = QUIET,
) -> Kept:
    """Minimise a loss over its samples; return averaged weights of the model in it.

    Writes into the run's folder: `log.jsonl`, `checkpoint/` (whole or not at all) and, with `validation`, the
    best averaged weights as `best.safetensors`. Started again on the same folder it goes on from the last
    checkpoint with the very next batch, bit for bit on a CPU.

    The loss is called wrapped, so that processes share gradients. The main process alone validates and
    returns the best; without `validation` the last weights are returned.

    Raises:
        SamMoeError: when loss or gradient is no longer finite; the batch is dumped to `folder/failed`.
        ConfigError: for a tracker that is not installed, or a folder with another model's checkpoint.
        FileError: where the folder is closed or full; started again with room, it goes on.
    """
    _check_tracker(reporting.tracker)
    folder, model, seed = run.folder, learner.model, run.seed
    make_folder(folder)
    accelerator = Accelerator(
        cpu=cpu_alone(),
        mixed_precision=mixed_precision(run.precision),
        log_with=reporting.tracker,
        project_dir=str(folder),
        kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
    )
    if reporting.tracker:
        accelerator.init_trackers("sam_moe", config=asdict(schedule))
    optimiser = torch.optim.AdamW(
        _decayed(learner.loss, schedule.weight_decay), lr=schedule.learning_rate, betas=(0.9, 0.98)
    )
    wrapped, optimiser = accelerator.prepare(learner.loss, optimiser)
    average = Average(model, schedule.average)  # only now does the model lie on its device
    accelerator.register_for_checkpointing(average)
    start, since = checkpoint.resume(accelerator, folder, schedule.steps)
    main, process = accelerator.is_main_process, accelerator.process_index
    diary = RunLog(folder, start, schedule.steps, main, reporting.row, before=since.seconds)

    def write(row: Row) -> None:
        diary.write(row)
        accelerator.log({k: v for k, v in row.items() if k != "step"}, step=int(row["step"]))

    def validate(measure: Callable[[dict[str, Tensor]], dict[str, float]], step: int) -> None:
        """Measure the averaged weights and keep them if they are the best so far, in the main process."""
        if main:
            figures = measure(average.values)
            keep_best(Kept(average.values, step, figures), folder)
            write({"step": step, **figures})
            log.info("step %d: %s", step, figures)
        accelerator.wait_for_everyone()

    share = Share(schedule.batch_size, process, accelerator.num_processes)
    stream = batches(samples, range(start, schedule.steps), share, accelerator.device)
    losses, worked = list(torch.tensor(since.losses, device=accelerator.device)), since.worked
    for step in range(start, schedule.steps):
        began, batch = time.monotonic(), next(stream)
        for group in optimiser.param_groups:
            group["lr"] = schedule.learning_rate * schedule.factor(step)
        torch.manual_seed(step_seed(seed, step, process))  # for dropout, if there is any
        value = wrapped(batch, prompt_rng(seed, step, process))
        _check_finite("loss", value, folder / "failed", step, batch, process)
        accelerator.backward(value)
        norm = accelerator.clip_grad_norm_(wrapped.parameters(), schedule.clip)
        if accelerator.scaler is None:  # a scaler skips such steps itself
            _check_finite("gradient", norm, folder / "failed", step, batch, process)
        optimiser.step()
        optimiser.zero_grad()
        average.update(model, step)
        losses, worked, done = [*losses, value.detach().float()], worked + time.monotonic() - began, step + 1
        if done % schedule.log_every == 0 or done == schedule.steps:
            rate = len(losses) * schedule.batch_size * accelerator.num_processes / worked
            mean = float(torch.stack(losses).mean())
            write({"step": done, "loss": mean, "norm": float(norm), "samples_per_s": round(rate, 2)})
            log.info("step %d of %d, loss %.3f, %.1f samples/s", done, schedule.steps, mean, rate)
            losses, worked = [], 0.0
        # Validated before it is saved: a kill between the two repeats the validation, and skips none.
        if validation and validation.due(done, schedule.steps):
            validate(validation.measure, done)
        if done % schedule.save_every == 0 or done == schedule.steps:
            so_far = checkpoint.Since(tuple(map(float, losses)), worked, diary.seconds)
            checkpoint.save(accelerator, folder, done, so_far)
    if validation and not (folder / BEST).is_file():  # the run ended before anything was kept
        validate(validation.measure, schedule.steps)
    for writer in accelerator.trackers:  # `end_training` would part the processes, and shipping is to come
        writer.finish()
    best = read_best(folder) if validation and main else None
    return best or Kept(average.values, schedule.steps, {})


def _check_tracker(name: str | None) -> None:
    known = [str(tracker) for tracker in get_available_trackers()]
    if name is not None and name not in known:
        raise ConfigError(
            f"tracker {name!r} is not installed, or unknown to Accelerate. Install its package, leave "
            f"`tracker` out, or use one that is here: {', '.join(known) or 'none'}."
        )


def _decayed(loss: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices and kernels only."""
    learnt = [p for p in loss.parameters() if p.requires_grad]
    return [
        {"params": [p for p in learnt if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in learnt if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _check_finite(what: str, value: Tensor, failed: Path, step: int, batch: Batch, process: int) -> None:
    if torch.isfinite(value).all():
        return
    make_folder(failed)
    with replacing(failed / f"step{step}.process{process}.pt", (RuntimeError,)) as new:
        torch.save({"step": step, "batch": batch}, new)
    raise SamMoeError(
        f"the {what} became {float(value.detach())} at step {step}. The batch lies in {failed}; look at "
        "it or lower the learning rate, then start again: the last checkpoint is whole."
    )
