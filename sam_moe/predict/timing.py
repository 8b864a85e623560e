"""How long each stage of an answer takes."""

from time import perf_counter


class timed:
    """Add the milliseconds of a block to a stage."""

    def __init__(self, timings: dict[str, float], stage: str) -> None:
        self.timings, self.stage = timings, stage

    def __enter__(self) -> None:
        self.start = perf_counter()

    def __exit__(self, *error: object) -> None:
        spent = 1000 * (perf_counter() - self.start)
        self.timings[self.stage] = self.timings.get(self.stage, 0.0) + spent
