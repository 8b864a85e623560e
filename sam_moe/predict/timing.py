"""How long each stage of an answer takes, and how many regions it asks."""

from collections import Counter
from dataclasses import dataclass, field
from time import perf_counter


@dataclass
class Cost:
    """What an answer has taken so far: milliseconds by stage, and regions by the experts that answered."""

    timings: dict[str, float] = field(default_factory=dict)
    regions: Counter[str] = field(default_factory=Counter)


class timed:
    """Add the milliseconds of a block to a stage."""

    def __init__(self, timings: dict[str, float], stage: str) -> None:
        self.timings, self.stage = timings, stage

    def __enter__(self) -> None:
        self.start = perf_counter()

    def __exit__(self, *error: object) -> None:
        spent = 1000 * (perf_counter() - self.start)
        self.timings[self.stage] = self.timings.get(self.stage, 0.0) + spent
