"""The loop that all trainings share: Accelerate, averaged weights, atomic checkpoints, exact resuming."""

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from sam_moe.errors import ConfigError, SamMoeError

log = logging.getLogger(__name__)


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
) -> dict[str, Tensor]:
    """Minimise `loss` over its samples and return the averaged weights of `model`, a part of it.

    Writes into `folder`: `log.jsonl`, `checkpoint/` (whole or not at all) and `best.safetensors`-ready
    weights through `validate`, which gets the averaged weights and returns figures, `score` among them.
    Started again on the same folder it goes on from the last checkpoint with the very next batch.
    `loss(batch..., rng)` must return (scalar, anything); it is called wrapped, so
    that gradients are shared between processes.

    Raises:
        SamMoeError: when the loss is no longer finite; the step's batch is dumped to `folder/failed`.
    """
    accelerator = Accelerator(
        dataloader_config=DataLoaderConfiguration(split_batches=False),
        log_with=tracker,
        project_dir=str(folder),
    )
    if tracker:
        accelerator.init_trackers("sam_moe", config=asdict(schedule))
    optimiser = torch.optim.AdamW(
        _decayed(loss, schedule.weight_decay), lr=schedule.learning_rate, betas=(0.9, 0.98)
    )
    average = Average(model, schedule.average)
    wrapped, optimiser = accelerator.prepare(loss, optimiser)
    accelerator.register_for_checkpointing(average)
    start = _resume(accelerator, folder, schedule)
    batches = _batches(samples, schedule, accelerator, start, workers)
    best = -1.0
    since, spent = time.monotonic(), 0.0
    for step in range(start, schedule.steps):
        batch = next(batches)
        rng = torch.Generator().manual_seed((seed * 1_000_003 + step) * 64 + accelerator.process_index)
        for group in optimiser.param_groups:
            group["lr"] = schedule.learning_rate * schedule.factor(step)
        value, _ = wrapped(batch["image"], batch["target"], rng)
        if not torch.isfinite(value):
            _dump(folder, step, batch, accelerator.process_index)
            raise SamMoeError(
                f"the loss became {value.item()} at step {step}. The batch lies in {folder / 'failed'}; "
                "lower the learning rate or look at it, then start again: the last checkpoint is whole."
            )
        accelerator.backward(value)
        norm = accelerator.clip_grad_norm_(wrapped.parameters(), schedule.clip)
        optimiser.step()
        optimiser.zero_grad()
        average.update(model, step)
        done = step + 1
        if accelerator.is_main_process and done % schedule.log_every == 0:
            spent, since = time.monotonic() - since, time.monotonic()
            rate = schedule.log_every * schedule.batch_size * accelerator.num_processes / spent
            row = {"step": done, "loss": value.item(), "norm": float(norm), "samples_per_s": round(rate, 2)}
            _log(folder, row)
            accelerator.log(row, step=done)
            log.info("step %d of %d, loss %.3f, %.1f samples/s", done, schedule.steps, row["loss"], rate)
        if done % schedule.save_every == 0 or done == schedule.steps:
            _save(accelerator, folder, done)
        if (
            validate
            and accelerator.is_main_process
            and (done % validate_every == 0 or done == schedule.steps)
        ):
            figures = validate(average.values)
            _log(folder, {"step": done, **figures})
            accelerator.log(figures, step=done)
            log.info("step %d: %s", done, figures)
            best = max(best, figures.get("score", 0.0))
    accelerator.end_training()
    return average.values


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


def _save(accelerator: Accelerator, folder: Path, step: int) -> None:
    """Write a checkpoint beside the old one and swap them, so that a kill leaves one of the two whole."""
    temporary, final, old = folder / "checkpoint.part", folder / "checkpoint", folder / "checkpoint.old"
    if accelerator.is_main_process:
        shutil.rmtree(temporary, ignore_errors=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(temporary))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        (temporary / "step.json").write_text(json.dumps({"step": step}), encoding="utf-8")
        shutil.rmtree(old, ignore_errors=True)
        if final.exists():
            os.replace(final, old)
        os.replace(temporary, final)
        shutil.rmtree(old, ignore_errors=True)
    accelerator.wait_for_everyone()


def _resume(accelerator: Accelerator, folder: Path, schedule: Schedule) -> int:
    """Load the last whole checkpoint, if there is one, and return the step it stopped at."""
    found = next(
        (f for f in (folder / "checkpoint", folder / "checkpoint.old") if (f / "step.json").is_file()), None
    )
    if found is None:
        return 0
    step = int(json.loads((found / "step.json").read_text(encoding="utf-8"))["step"])
    if step > schedule.steps:
        raise ConfigError(
            f"{found} stopped at step {step}, but the recipe ends at {schedule.steps}. "
            "Raise `steps` or name another folder."
        )
    accelerator.load_state(str(found))
    log.info("going on from step %d of %s", step, found)
    return step


def _dump(folder: Path, step: int, batch: dict[str, Tensor], process: int) -> None:
    failed = folder / "failed"
    failed.mkdir(parents=True, exist_ok=True)
    torch.save({"step": step, "batch": batch}, failed / f"step{step}.process{process}.pt")


def _log(folder: Path, row: dict[str, float]) -> None:
    with (folder / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
