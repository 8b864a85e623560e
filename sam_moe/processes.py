"""Processors, threads, ranks and device of this process: asked here, nowhere else; starts without torch."""

import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sam_moe.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from accelerate import PartialState

T = TypeVar("T")

# What a launcher sets beside WORLD_SIZE, and without which the processes cannot find each other.
_OF_LAUNCHERS = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_QUOTA = Path("/sys/fs/cgroup/cpu.max")
# One process may have much more to do than another before they meet.
_PATIENCE = timedelta(days=7)


def world_size() -> int:
    """Number of processes that a launcher started, from WORLD_SIZE; 1 where it is not set or empty.

    Raises:
        ConfigError: for anything but a whole number from 1.
    """
    return _whole("WORLD_SIZE", 1, least=1)


def local_world_size() -> int:
    """Number of these processes on this machine, from LOCAL_WORLD_SIZE; 1 where it is not set or empty.

    Raises:
        ConfigError: for anything but a whole number from 1.
    """
    return _whole("LOCAL_WORLD_SIZE", 1, least=1)


def rank() -> int:
    """Number of this process, from RANK, 0 where it is not set or empty; number 0 reports for all.

    Raises:
        ConfigError: for anything but a whole number from 0.
    """
    return _whole("RANK", 0, least=0)


def check_launched() -> None:
    """Refuse a WORLD_SIZE of several processes that no launcher set: this one would do a part of it.

    Raises:
        ConfigError: naming the variables that a launcher sets and that are missing.
    """
    missing = [name for name in _OF_LAUNCHERS if not os.environ.get(name)]
    if world_size() > 1 and missing:
        raise ConfigError(
            f"WORLD_SIZE is {world_size()}, but {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} "
            "not set: no launcher started this process. Unset WORLD_SIZE, or start with torchrun or "
            "accelerate launch."
        )


def _whole(name: str, default: int, least: int) -> int:
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least:
        raise ConfigError(
            f"the environment variable {name} is {text!r}. Expected a whole number from {least}, as "
            "launchers set it; unset it to run one process."
        )
    return number


def processors(quota: Path = _QUOTA) -> int:
    """Number of processors this process may use: its affinity, or a container's quota where that is less."""
    affinity: Any = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        most, period = quota.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return count
    return count if most == "max" else min(count, max(1, round(int(most) / int(period))))


def threads() -> int:
    """Number of threads that torch computes with now."""
    import torch

    return torch.get_num_threads()


def use_threads(count: int) -> None:
    """Compute with this number of threads, whatever the machine has."""
    import torch

    torch.set_num_threads(count)


def share_threads(processes: int | None = None) -> None:
    """Compute with this process's part of the processors, unless OMP_NUM_THREADS asks for a number.

    `processes` share this machine; by default those that a launcher started here. A launcher of several sets
    OMP_NUM_THREADS to 1 unasked, which therefore does not count. One process alone never takes more threads
    than torch would, and torch knows no container's quota. Threads beyond the processors are several times
    slower than too few: they wait for each other.
    """
    launched = local_world_size()
    processes = processes or launched
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked and not (asked == "1" and launched > 1):
        return
    part = max(1, processors() // processes)
    use_threads(min(threads(), part) if processes == 1 else part)


def choose_device(name: str = "auto") -> "torch.device":
    """The device with this name; "auto" is CUDA where there is one, else the CPU.

    Raises:
        ConfigError: for a device that torch does not know or this machine does not have.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts
        reason = str(error).splitlines()[0].rstrip(".")
        raise ConfigError(f"device {name!r} cannot be used ({reason}). Use 'auto' or 'cpu'.") from error
    return device


def cpu_alone() -> bool:
    """Whether this machine has no accelerator that torch can use.

    Accelerate must be given this: else it takes torchrun's processes on a CPU for one each.
    """
    import torch

    return not torch.accelerator.is_available()


def join(patience: timedelta | None = None) -> "PartialState":
    """Accelerate's state of the processes that a launcher started; the first call lets them meet.

    `patience` is how long one waits for the others; None is torch's own, 10 to 30 minutes.
    """
    from accelerate import PartialState

    return PartialState(cpu=cpu_alone(), **({} if patience is None else {"timeout": patience}))


class Processes:
    """One process among those that `accelerate launch` or `torchrun` started.

    They speak with each other only when they start and when they end.
    """

    def __init__(self) -> None:
        check_launched()
        self.count, self.rank = world_size(), rank()
        if self.count > 1:
            join(_PATIENCE)
        share_threads()

    def share(self, items: Sequence[T], sizes: Sequence[float]) -> list[T]:
        """Part of the first process's list for this one, dealt out so that all have as much to do."""
        if self.count > 1:
            from accelerate.utils import broadcast_object_list

            items, sizes = broadcast_object_list([list(items), list(sizes)])
        return [items[n] for n in dealt(sizes, self.count)[self.rank]]

    def gather(self, mine: Sequence[T]) -> list[T]:
        """What all processes have, once all have come here; they wait for each other."""
        if self.count == 1:
            return list(mine)
        import torch
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
