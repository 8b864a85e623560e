"""How long work takes: processor time, the best of three, so that neighbours do not count."""

import time
from collections.abc import Callable


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
