"""Seconds from an opened scan to its labels on all cores, of the test scans nearest to two sizes."""

from collections.abc import Mapping, Sequence
from math import prod
from statistics import median
from time import perf_counter

from benchmarks.mixture.m4oe.figures import Figure
from sam_moe.evaluation.challenge.challenge import Case, open_case
from sam_moe.predict.automatic.model import AutomaticModel
from sam_moe.processes import processors, use_threads
from sam_moe.space.files import read_header

SIZES: Mapping[str, tuple[int, ...]] = {"abdomen-mr": (200, 180, 35), "headneck-ct": (110, 60, 128)}
SECONDS = "seconds, "  # how these figures begin
_MOST_SECONDS, _TIMES = 2.0, 3


def seconds_of(
    model: AutomaticModel, cases: Sequence[Case], sizes: Mapping[str, tuple[int, ...]] = SIZES
) -> list[Figure]:
    """The median of three runs after a first one, for each of the sizes that a test set has scans of."""
    made = []
    use_threads(processors())
    for name, size in sizes.items():
        own = [case for case in cases if case.strata["set"] == name]
        if not own:
            continue
        case = min(own, key=lambda each: abs(prod(_shape(each)) - prod(size)))
        session = model.open(open_case(case).scan)
        runs = []
        for _ in range(1 + _TIMES):
            start = perf_counter()
            session.segment()
            runs.append(perf_counter() - start)
        what = f"{SECONDS}{case.id}, {' x '.join(map(str, _shape(case)))} voxels, {processors()} cores"
        made.append(Figure(model.id, what, _MOST_SECONDS, median(runs[1:]), least=False))
    return made


def _shape(case: Case) -> tuple[int, ...]:
    return read_header(case.images[case.reference]).grid.shape
