"""Processors, threads, devices and ranks: asked here and nowhere else; one list of work for all processes."""

import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch

from sam_moe.errors import ConfigError
from sam_moe.launch import check_launched, local_world_size, rank, world_size

T = TypeVar("T")

# One process may have much more to do than another before they meet.
_PATIENCE = timedelta(days=7)
_QUOTA = Path("/sys/fs/cgroup/cpu.max")


class Processes:
    """One process among those that `accelerate launch` or `torchrun` started.

    They speak with each other only when they start and when they end.
    """

    def __init__(self) -> None:
        check_launched()
        self.count, self.rank = world_size(), rank()
        if self.count > 1:
            from accelerate import PartialState

            PartialState(cpu=not torch.accelerator.is_available(), timeout=_PATIENCE)
        set_threads(local_world_size())

    def share(self, items: Sequence[T], sizes: Sequence[float]) -> list[T]:
        """What this process is to do of the first one's list, dealt out so that all have as much to do."""
        if self.count > 1:
            from accelerate.utils import broadcast_object_list

            items, sizes = broadcast_object_list([list(items), list(sizes)])
        return [items[n] for n in dealt(sizes, self.count)[self.rank]]

    def gather(self, mine: Sequence[T]) -> list[T]:
        """What all processes have, once all have come here; they wait for each other."""
        if self.count == 1:
            return list(mine)
        from accelerate.utils import gather_object

        found: list[T] = gather_object(list(mine))
        torch.distributed.destroy_process_group()
        return found


def dealt(sizes: Sequence[float], hands: int) -> list[list[int]]:
    """Numbers of items for each hand: the largest first, each to the hand that has least; in their order.

    >>> dealt([5, 1, 1, 4, 1], 2)
    [[0, 2], [1, 3, 4]]
    """
    found: list[list[int]] = [[] for _ in range(hands)]
    held = [0.0] * hands
    for number in sorted(range(len(sizes)), key=lambda n: -sizes[n]):
        least = min(range(hands), key=lambda hand: (held[hand], len(found[hand])))
        found[least].append(number)
        held[least] += sizes[number]
    return [sorted(hand) for hand in found]


def set_threads(processes: int = 1) -> None:
    """Let torch use this process's part of the processors, unless OMP_NUM_THREADS asks for more than one.

    Torch alone takes all processors of the machine, also where a container may use but few of them; and
    launchers of several processes leave each a single one, however many there are. Threads beyond the
    processors are several times slower than too few: they wait for each other.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked not in ("", "1") or (asked == "1" and processes == 1):
        return
    torch.set_num_threads(max(1, processors() // processes))


def processors(quota: Path = _QUOTA) -> int:
    """How many processors this process may use: its affinity, and a container's quota where there is one."""
    affinity: Any = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        most, period = quota.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return count
    return count if most == "max" else min(count, max(1, round(int(most) / int(period))))


def choose_device(name: str = "auto") -> torch.device:
    """The device with this name; "auto" is CUDA where there is one, else the CPU.

    Raises:
        ConfigError: for a device that torch does not know or this machine does not have.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts
        reason = str(error).splitlines()[0].rstrip(".")
        raise ConfigError(f"device {name!r} cannot be used ({reason}). Use 'auto' or 'cpu'.") from error
    return device
