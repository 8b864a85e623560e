"""The loop that all trainings share: Accelerate, averaged weights, exact resuming, the best that was seen."""

import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.tracking import get_available_trackers
from accelerate.utils import InitProcessGroupKwargs
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from sam_moe.errors import ConfigError, SamMoeError
from sam_moe.files import make_folder, replacing
from sam_moe.processes import cpu_alone
from sam_moe.training.engine import checkpoint
from sam_moe.training.engine.machines import PATIENCE
from sam_moe.training.engine.precision import Precision, mixed_precision
from sam_moe.training.engine.runlog import Row, RunLog
from sam_moe.training.engine.seeds import prompt_rng, step_seed
from sam_moe.weights.files import read_metadata, read_state, save_weights

log = logging.getLogger(__name__)

BEST = "best.safetensors"


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: warm-up, plateau, then a linear decay to 0 over a share of the steps."""

    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.05
    warmup: int = 200
    decay: float = 0.4
    average: float = 0.999
    clip: float = 1.0
    save_every: int = 200
    log_every: int = 20

    def factor(self, step: int) -> float:
        """Share of the learning rate at a step."""
        rest = max(1.0, self.decay * self.steps)
        return min(1.0, (step + 1) / max(1, self.warmup), max(0.0, (self.steps - step) / rest))


@dataclass(frozen=True)
class Kept:
    """What a training ends with: averaged weights, the step they are of, and their validation figures."""

    weights: dict[str, Tensor]
    step: int
    figures: dict[str, float]


class Average:
    """An exponential moving average of a model's parameters; buffers are copied."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move towards the model; quickly in the first steps, when there is little to remember."""
        keep = min(self.decay, (1 + step) / (10 + step))
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                self.values[name].lerp_(value.detach(), 1 - keep)
            else:
                self.values[name].copy_(value)

    def state_dict(self) -> dict[str, Tensor]:
        """What a checkpoint keeps."""
        return dict(self.values)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take up where a checkpoint left."""
        for name, value in state.items():
            self.values[name].copy_(value)


def train(
    loss: nn.Module,
    model: nn.Module,
    samples: Dataset[dict[str, Tensor]],
    schedule: Schedule,
    folder: Path,
    seed: int,
    workers: int = 0,
    validate: Callable[[dict[str, Tensor]], dict[str, float]] | None = None,
    validate_every: int = 1000,
    tracker: str | None = None,
    report: Callable[[Row], None] | None = None,
    precision: Precision = "float32",
) -> Kept:
    """Minimise `loss` over its samples; return the averaged weights of `model`, a part of it.

    Writes into `folder`: `log.jsonl`, `checkpoint/` (whole or not at all) and, with `validate`, the best
    averaged weights as `best.safetensors`. Started again on the same folder it goes on from the last
    checkpoint with the very next batch, bit for bit on a CPU.

    `loss(image, target, rng)` must return the scalar to minimise; it is called wrapped, so that
    processes share gradients. `validate` gets averaged weights and returns figures, of which the highest
    `score` decides what is kept; it runs in the main process, which alone returns the best. Without it the
    last weights are returned. `report` gets every row of the log as it is written, with `steps` in all.

    Raises:
        SamMoeError: when loss or gradient is no longer finite; the batch is dumped to `folder/failed`.
        ConfigError: for a tracker that is not installed, or a folder with another model's checkpoint.
        FileError: where the folder is closed or full; started again with room, it goes on.
    """
    _check_tracker(tracker)
    make_folder(folder)
    accelerator = Accelerator(
        cpu=cpu_alone(),
        mixed_precision=mixed_precision(precision),
        log_with=tracker,
        project_dir=str(folder),
        kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
    )
    if tracker:
        accelerator.init_trackers("sam_moe", config=asdict(schedule))
    optimiser = torch.optim.AdamW(
        _decayed(loss, schedule.weight_decay), lr=schedule.learning_rate, betas=(0.9, 0.98)
    )
    wrapped, optimiser = accelerator.prepare(loss, optimiser)
    average = Average(model, schedule.average)  # only now does the model lie on its device
    accelerator.register_for_checkpointing(average)
    start, since = checkpoint.resume(accelerator, folder, schedule.steps)
    diary = RunLog(folder, start, schedule.steps, accelerator.is_main_process, report, before=since.seconds)

    def write(row: Row) -> None:
        diary.write(row)
        accelerator.log({k: v for k, v in row.items() if k != "step"}, step=int(row["step"]))

    batches = _batches(samples, schedule, accelerator, start, workers)
    losses, worked = list(torch.tensor(since.losses, device=accelerator.device)), since.worked
    for step in range(start, schedule.steps):
        began, batch = time.monotonic(), next(batches)
        for group in optimiser.param_groups:
            group["lr"] = schedule.learning_rate * schedule.factor(step)
        torch.manual_seed(step_seed(seed, step, accelerator.process_index))  # for dropout, if there is any
        value = wrapped(batch["image"], batch["target"], prompt_rng(seed, step, accelerator.process_index))
        _check_finite("loss", value, folder, step, batch, accelerator.process_index)
        accelerator.backward(value)
        norm = accelerator.clip_grad_norm_(wrapped.parameters(), schedule.clip)
        if accelerator.scaler is None:  # a scaler skips such steps itself
            _check_finite("gradient", norm, folder, step, batch, accelerator.process_index)
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
        if validate and (done % validate_every == 0 or done == schedule.steps):
            _validate(accelerator, average, validate, folder, done, write)
        if done % schedule.save_every == 0 or done == schedule.steps:
            so_far = checkpoint.Since(tuple(map(float, losses)), worked, diary.seconds)
            checkpoint.save(accelerator, folder, done, so_far)
    if validate and not (folder / BEST).is_file():  # the run ended before anything was kept
        _validate(accelerator, average, validate, folder, schedule.steps, write)
    for writer in accelerator.trackers:  # `end_training` would part the processes, and shipping is to come
        writer.finish()
    best = _read_best(folder) if validate and accelerator.is_main_process else None
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


def _batches(
    samples: Dataset[dict[str, Tensor]],
    schedule: Schedule,
    accelerator: Accelerator,
    start: int,
    workers: int,
) -> Iterator[dict[str, Tensor]]:
    """Batches from step `start` on; sample numbers are dealt out to processes, so nothing is drawn twice."""
    per_step = schedule.batch_size * accelerator.num_processes
    numbers = [
        step * per_step + accelerator.process_index * schedule.batch_size + item
        for step in range(start, schedule.steps)
        for item in range(schedule.batch_size)
    ]
    loader = DataLoader(Subset(samples, numbers), batch_size=schedule.batch_size, num_workers=workers)
    for batch in loader:
        yield {k: v.to(accelerator.device) for k, v in batch.items()}


def _validate(
    accelerator: Accelerator,
    average: Average,
    validate: Callable[[dict[str, Tensor]], dict[str, float]],
    folder: Path,
    step: int,
    write: Callable[[Row], None],
) -> None:
    """Measure the averaged weights and keep them if they are the best so far, in the main process."""
    if accelerator.is_main_process:
        figures = validate(average.values)
        best = _read_best(folder)
        if best is None or figures["score"] > best.figures["score"]:
            save_weights(average.values, folder / BEST, {"step": str(step), "figures": json.dumps(figures)})
        write({"step": step, **figures})
        log.info("step %d: %s", step, figures)
    accelerator.wait_for_everyone()


def _read_best(folder: Path) -> Kept | None:
    path = folder / BEST
    if not path.is_file():
        return None
    about = read_metadata(path)
    return Kept(read_state(path), int(about["step"]), json.loads(about["figures"]))


def _check_finite(
    what: str, value: Tensor, folder: Path, step: int, batch: dict[str, Tensor], process: int
) -> None:
    if torch.isfinite(value).all():
        return
    failed = folder / "failed"
    make_folder(failed)
    with replacing(failed / f"step{step}.process{process}.pt", (RuntimeError,)) as new:
        torch.save({"step": step, "batch": batch}, new)
    raise SamMoeError(
        f"the {what} became {float(value.detach())} at step {step}. The batch lies in {failed}; look at "
        "it or lower the learning rate, then start again: the last checkpoint is whole."
    )
