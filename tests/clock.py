"""How long work takes: processor time, the best of three, so that neighbours do not count."""

import os
import subprocess
import time
from collections.abc import Callable, Sequence


def processor_seconds(work: Callable[[], object], trials: int = 3) -> float:
    """Least processor time of `work` over `trials` runs, in seconds; ends early once a run is quick."""
    best = float("inf")
    for _ in range(trials):
        begin = time.process_time()
        work()
        best = min(best, time.process_time() - begin)
        if best < 0.1:
            break
    return best


def child_seconds(command: Sequence[object], most: float, trials: int = 5) -> float:
    """Least processor time of a command over `trials` processes, in seconds; ends once one takes `most`."""
    best = float("inf")
    for _ in range(trials):
        before = os.times()
        subprocess.run(list(map(str, command)), check=True, capture_output=True)
        after = os.times()
        user, system = (
            getattr(after, f"children_{k}") - getattr(before, f"children_{k}") for k in ("user", "system")
        )
        best = min(best, user + system)
        if best <= most:
            break
    return best
