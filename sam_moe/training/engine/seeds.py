"""What chance a training step has: repeatable, different in every process, or agreed on by all of them."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

# More processes than any run has; the steps of one run keep out of each other's numbers.
_PROCESSES = 1 << 16


def step_seed(seed: int, step: int, process: int) -> int:
    """A number for one step in one process."""
    return (seed * 1_000_003 + step) * _PROCESSES + process


def prompt_rng(seed: int, step: int, process: int) -> torch.Generator:
    """The generator that a step's prompts are drawn from, in one process; on the CPU."""
    return torch.Generator().manual_seed(step_seed(seed, step, process))


def agreed_rng(rng: torch.Generator) -> torch.Generator:
    """From one process's generator, one that all of the step have: what costs time is drawn from it.

    A step is as slow as its slowest process, so none may talk longer than the others.
    """
    return torch.Generator().manual_seed(rng.initial_seed() // _PROCESSES)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw initial weights, on the CPU, from a seed; the caller's generators are afterwards as they were."""
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(seed)
        yield
