"""The rows of `weights.py` as a table: means per structure, over structures, and intervals over patients."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from statistics import median

import numpy as np
from jaxtyping import Int

from benchmarks.quality.blocks import BLOCKS
from benchmarks.quality.protocol import SHOWN
from benchmarks.quality.tools import CUT, ELLIPSOID, GROWING, OUR_POINTS, OURS, PEER, WALKER, Row
from sam_moe.evaluation.scoring.intervals import SHARE, interval

COLUMNS = (
    *((OURS, f"click{n}") for n in SHOWN),
    *((name, f"click{n}") for tool in OUR_POINTS for name in (tool, OUR_POINTS[tool]) for n in SHOWN),
    *((tool, "box") for tool in (OURS, ELLIPSOID, CUT, PEER)),
)
Column = tuple[str, str]

_TITLES = {
    GROWING: "conf. connected",
    OUR_POINTS[GROWING]: "its, our clicks",
    OUR_POINTS[WALKER]: "its, our clicks",
    ELLIPSOID: "ellips.",
    CUT: "cut ell.",
    PEER: "LiteMed",
}
_WIDTH, _FIRST = 9, 34


class Means:
    """Mean Dice of one column of a block, for each structure and over structures, with 95 % intervals.

    The mean over structures weighs each structure alike, however many targets it has. Intervals are those of
    `sam_moe.evaluation.scoring.intervals`: over patients, who may have several structures, of sets with
    degrees of freedom of their own.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self.structures = sorted({row.target.structure for row in rows})
        self._dice = np.array([row.score.dice for row in rows], dtype=np.float64)
        self._structure = [row.target.structure for row in rows]
        self._patient = [row.target.patient for row in rows]
        self._set = [row.target.set for row in rows]
        own = [self._of(name) for name in self.structures]
        self.count = np.array([len(places) for places in own])
        self.by_structure = np.array([self._dice[places].mean() for places in own])
        self.mean = float(self.by_structure.mean())

    def interval(self, structure: str | None = None, further: bool = False) -> tuple[float, float] | None:
        """The interval of a structure's mean, or of the mean over structures, over `further` ones, too."""
        chosen = np.arange(len(self._dice)) if structure is None else self._of(structure)
        patients, structures, sets = (
            [own[place] for place in chosen] for own in (self._patient, self._structure, self._set)
        )
        values = self._dice[chosen]
        return interval(values, patients, SHARE, structures, sets, further_structures=further)

    def _of(self, structure: str) -> Int[np.ndarray, " rows"]:
        return np.flatnonzero(np.array(self._structure) == structure)


def means(rows: Sequence[Row], block: str) -> dict[Column, Means]:
    """The columns of a block that have rows."""
    found = {}
    for column in COLUMNS:
        own = [r for r in rows if r.target.block == block and (r.tool, r.score.prompt) == column]
        if own:
            found[column] = Means(own)
    return found


def table(rows: Sequence[Row]) -> Iterator[str]:
    """All blocks as lines of text."""
    for block, note in BLOCKS.items():
        own = [row for row in rows if row.target.block == block]
        if own:
            yield from ("", f"{block.upper()}: {note}")
            yield from _block(own, means(rows, block))


def _block(rows: Sequence[Row], columns: dict[Column, Means]) -> Iterator[str]:
    shown = [column for column in COLUMNS if column in columns]
    yield " " * _FIRST + "".join(
        f"{_TITLES.get(tool, tool):>{_WIDTH * len(list(group))}}"
        for tool, group in groupby(tool for tool, _ in shown)
    )
    titles = "".join(f"{prompt.replace('click', 'click '):>{_WIDTH}}" for _, prompt in shown)
    yield f"{'structure':{_FIRST - 4}}{'n':>4}{titles}"
    first = columns[shown[0]]
    for number, structure in enumerate(first.structures):
        count = int(first.count[number])
        yield f"{structure:{_FIRST - 4}}{count:4}" + "".join(
            f"{columns[c].by_structure[number]:{_WIDTH}.2f}" for c in shown
        )
        yield from _intervals([columns[column].interval(structure) for column in shown])
    yield f"{'MEAN over structures':{_FIRST - 4}}{int(first.count.sum()):4}" + "".join(
        f"{columns[column].mean:{_WIDTH}.3f}" for column in shown
    )
    yield from _intervals([columns[column].interval() for column in shown], "95 % over patients")
    wide = [columns[column].interval(further=True) for column in shown]
    yield from _intervals(wide, "95 % over structures, too")
    yield f"{'seconds of this answer':{_FIRST}}" + "".join(
        f"{seconds(rows, column):{_WIDTH}.3f}" for column in shown
    )


def _intervals(found: Sequence[tuple[float, float] | None], title: str = "") -> Iterator[str]:
    if any(found):
        cells = (f"{one[0]:.2f}–{one[1]:.2f}".replace("0.", ".") if one else "" for one in found)
        yield f"{title:{_FIRST}}" + "".join(f"{cell:>{_WIDTH}}" for cell in cells)


def seconds(rows: Sequence[Row], column: Column) -> float:
    """The median processor seconds of a column's answers."""
    spent = [r.score.seconds for r in rows if (r.tool, r.score.prompt) == column and not r.score.idle]
    return median(spent) if spent else 0.0
