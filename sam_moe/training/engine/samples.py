"""Which samples each step of each process learns from, and how they become batches."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.utils import send_to_device
from torch.utils.data import DataLoader, Dataset, Sampler

# Whatever a loss takes: the engine looks into none.
Batch = Any


@dataclass(frozen=True)
class Samples:
    """What is learnt from: a dataset in which number n is the same on every machine and after every resume.

    Args:
        dataset: samples by number, at least `steps * batch_size * processes` of them.
        workers: processes that draw samples; 0 draws them where the training runs.
        collate: makes a batch of a list of samples; torch's default stacks tensors key by key.
    """

    dataset: Dataset[Any]
    workers: int = 0
    collate: Callable[[list[Any]], Batch] | None = None


@dataclass(frozen=True)
class Share:
    """One process's part of all samples: which process of how many, and samples a step and process."""

    batch_size: int
    process: int = 0
    processes: int = 1


class StepSampler(Sampler[list[int]]):
    """The sample numbers of each step in one process, computed step by step: memory stays as it is.

    Numbers are dealt out to processes batch by batch, so no two processes and no two steps share a sample.

    >>> list(StepSampler(range(2, 4), Share(batch_size=2, process=1, processes=3)))
    [[14, 15], [20, 21]]
    """

    def __init__(self, steps: range, share: Share) -> None:
        self.steps, self.share = steps, share

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[int]]:
        share = self.share
        for step in self.steps:
            first = (step * share.processes + share.process) * share.batch_size
            yield list(range(first, first + share.batch_size))


def batches(samples: Samples, steps: range, share: Share, device: torch.device) -> Iterator[Batch]:
    """One batch a step, its tensors on `device`, however deep they lie in it."""
    loader = DataLoader(
        samples.dataset,
        batch_sampler=StepSampler(steps, share),
        num_workers=samples.workers,
        collate_fn=samples.collate,
    )
    for batch in loader:
        yield send_to_device(batch, device)
