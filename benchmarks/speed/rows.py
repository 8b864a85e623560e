"""A row of the speed table and how it is measured: in turn with the plain way, against the machine's best."""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Literal

import torch

from benchmarks.speed.memory import rise_of_resident_mb

Floor = Literal["matmul", "copy"]

SQUARE = 4096
_COPIED_BYTES = 256 * 2**20
# From here on a call is too long to be warmed up and repeated.
_LONG_S = 1.5


def _nothing() -> None:
    """Nothing to be done first."""


@dataclass(frozen=True)
class Task:
    """What one row measures.

    `plain` does the same in the plain way and is measured in the same rounds, in no more than `plain_rounds`
    of them and `plain_times` over (13 targets are 13 times one, say). `gflop` is the work and `moved_mb` what
    at least has to be read and written, for the share of the floor. `before` is done, untimed, before each
    time. `bar` is what the ratio or, with `bar_s`, the seconds should reach.
    """

    name: str
    run: Callable[[], object]
    plain: Callable[[], object] | None = None
    plain_is: str = ""
    plain_times: int = 1
    plain_rounds: int = 2
    gflop: float | None = None
    moved_mb: float | None = None
    before: Callable[[], object] = _nothing
    repeats: int = 3
    bar: float | None = None
    bar_s: float | None = None
    note: str = ""


@dataclass
class Row:
    """One row's figures: seconds (median and quartiles), ratio to the plain way, share of a floor."""

    section: str
    name: str
    seconds: float
    low: float
    high: float
    times: int
    plain_seconds: float | None = None
    ratio: float | None = None
    plain_is: str = ""
    share: float | None = None
    floor: Floor | None = None
    gflop: float | None = None
    moved_mb: float | None = None
    peak_mb: float = math.nan
    plain_peak_mb: float = math.nan
    bar: float | None = None
    bar_s: float | None = None
    note: str = ""


@dataclass
class Rates:
    """What this machine does at best, measured between the rows."""

    matmul_gflop_s: list[float] = field(default_factory=list)
    copy_mb_s: list[float] = field(default_factory=list)

    def measure(self) -> None:
        """Multiply two square matrices, copy 256 MB; each with what it needs already in place."""
        square = torch.ones(SQUARE, SQUARE)
        out, source = torch.empty_like(square), torch.ones(_COPIED_BYTES, dtype=torch.uint8)
        target = torch.ones_like(source)
        for _ in range(2):
            product = seconds_of(lambda: torch.mm(square, square, out=out))
            self.matmul_gflop_s.append(2e-9 * SQUARE**3 / product)
            self.copy_mb_s.append(1e-6 * _COPIED_BYTES / seconds_of(lambda: target.copy_(source)))

    def median(self, floor: Floor) -> float:
        """GFLOP or MB a second."""
        return statistics.median(self.matmul_gflop_s if floor == "matmul" else self.copy_mb_s)


class Clock:
    """What `seconds_of` reads: the wall's, or the processor's, which neighbours disturb less."""

    now: Callable[[], float] = perf_counter


def seconds_of(run: Callable[[], object]) -> float:
    """How long one call takes."""
    start = Clock.now()
    run()
    return Clock.now() - start


def measure(section: str, tasks: Iterable[Task], rounds: int, rates: Rates) -> list[Row]:
    """Every task and its plain way in turn, round after round, after a first call of each to warm up."""
    tasks = list(tasks)
    measured = {task.name: Measured(task) for task in tasks}
    for number in range(rounds):
        rates.measure()
        for task in tasks:
            measured[task.name].once_more(number)
    return [measured[task.name].row(section, rates) for task in tasks]


class Measured:
    """The times of one task, ours and the plain way's, in pairs."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.ours: list[float] = []
        self.plain: list[float] = []
        self.ratios: list[float] = []
        self.plain_peak_mb = math.nan
        task.before()
        start = Clock.now()
        self.peak_mb = rise_of_resident_mb(task.run)
        if Clock.now() - start < _LONG_S:  # the first call also takes what is kept for good
            task.before()
            self.peak_mb = min(self.peak_mb, rise_of_resident_mb(task.run))

    def once_more(self, number: int) -> None:
        """One round: ours as often as the task says, the plain way after each, or once if it takes long."""
        for repeat in range(self.task.repeats):
            self.task.before()
            self.ours.append(seconds_of(self.task.run))
            long = bool(self.plain) and self.plain[-1] > _LONG_S
            if number < self.task.plain_rounds and not (repeat and long):
                self._plainly()

    def _plainly(self) -> None:
        if self.task.plain is None:
            return
        if math.isnan(self.plain_peak_mb):
            start = Clock.now()
            self.plain_peak_mb = rise_of_resident_mb(self.task.plain)
            took = Clock.now() - start
            if took < _LONG_S:  # a warm-up; what takes longer counts although it is the first
                took = seconds_of(self.task.plain)
        else:
            took = seconds_of(self.task.plain)
        self.plain.append(took)
        self.ratios.append(self.task.plain_times * took / self.ours[-1])

    def row(self, section: str, rates: Rates) -> Row:
        """The figures; the ratio is of times one after the other, then the median."""
        task = self.task
        low, middle, high = quartiles(self.ours)
        floor: Floor | None = "matmul" if task.gflop else "copy" if task.moved_mb else None
        least = task.gflop or task.moved_mb
        return Row(
            section,
            task.name,
            seconds=middle,
            low=low,
            high=high,
            times=len(self.ours),
            plain_seconds=task.plain_times * statistics.median(self.plain) if self.plain else None,
            ratio=statistics.median(self.ratios) if self.ratios else None,
            plain_is=task.plain_is,
            share=least / rates.median(floor) / middle if floor and least else None,
            floor=floor,
            gflop=task.gflop,
            moved_mb=task.moved_mb,
            peak_mb=self.peak_mb,
            plain_peak_mb=self.plain_peak_mb,
            bar=task.bar,
            bar_s=task.bar_s,
            note=task.note,
        )


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """The first quartile, the median and the third quartile; of one value itself three times."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def table(rows: Sequence[Row]) -> str:
    """All rows for a person: one line each, sections apart, what the plain ways are below."""
    lines = [
        f"{'':<44}{'median':>10}{'quartiles':>19}{'plain':>10}{'ratio':>8}{'of floor':>15}{'peak, MB':>10}"
    ]
    notes: dict[str, int] = {}
    section = ""
    for row in rows:
        if row.section != section:
            section = row.section
            lines += ["", section]
        marks = [str(notes.setdefault(text, len(notes) + 1)) for text in (row.plain_is, row.note) if text]
        mark = f" [{','.join(marks)}]" if marks else ""
        share = "" if row.share is None else f"{row.share:.0%} {row.floor}"
        plain = "" if row.plain_seconds is None else duration(row.plain_seconds)
        ratio = "" if row.ratio is None else f"{row.ratio:,.0f}x" if row.ratio >= 100 else f"{row.ratio:.3g}x"
        peak = "" if math.isnan(row.peak_mb) else f"{row.peak_mb:.0f}"
        spread = f"{duration(row.low)}–{duration(row.high)}"
        against = "".join(
            f"{x:>{w}}" for x, w in ((spread, 19), (plain, 10), (ratio, 8), (share, 15), (peak, 10))
        )
        lines.append(f"  {row.name + mark:<42}{duration(row.seconds):>10}{against}{_verdict(row)}")
    return "\n".join([*lines, "", *(f"[{number}] {text}" for text, number in notes.items())])


def _verdict(row: Row) -> str:
    """What was to reach, and whether it was."""
    if row.bar is not None and row.ratio is not None:
        return f"  {'reached' if row.ratio >= row.bar else 'MISSED'} {row.bar:g}x"
    if row.bar_s is not None:
        return f"  {'reached' if row.seconds <= row.bar_s else 'MISSED'} {duration(row.bar_s)}"
    return ""


def duration(seconds: float) -> str:
    """Seconds from 1 on, milliseconds from 1 on, else microseconds; three digits."""
    for unit, least in (("s", 0.9995), ("ms", 0.9995e-3)):
        if seconds >= least:
            return f"{seconds / round(least, 3):.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def as_json(rows: Sequence[Row]) -> list[dict[str, object]]:
    """Rows for machines, four digits each; what was not measured is null."""
    return [{key: _plain(value) for key, value in asdict(row).items()} for row in rows]


def _plain(value: object) -> object:
    if isinstance(value, float):
        return None if math.isnan(value) else float(f"{value:.4g}")
    return value
