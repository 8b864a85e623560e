"""How much memory a piece of work takes beyond what its process held before."""

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path

_PROC = Path("/proc/self")


def rise_of_resident_mb(run: Callable[[], object]) -> float:
    """How far the resident size rises while `run` runs, libraries' own buffers included; nan without a /proc.

    Memory that is free but not given back is given back first, so that it cannot hide what is taken.
    """
    if not (_PROC / "clear_refs").exists():
        return float("nan")
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    (_PROC / "clear_refs").write_text("5")  # the high-water mark starts anew
    before = _status_mb("VmRSS")
    kept = run()
    after = _status_mb("VmHWM")
    del kept
    return max(0.0, after - before)


def _status_mb(key: str) -> float:
    line = next(x for x in (_PROC / "status").read_text().splitlines() if x.startswith(key))
    return int(line.split()[1]) * 1.024e-3
