"""Which masks of an automatic model a promptable one should answer by their boxes: the card's `refine`.

    python -m benchmarks.mixture.choose_refine MODEL [--then small-moe] [--part validation|test]
                                               [--write] [--out FOLDER] [--scans N]

On the validation part, for each structure: Dice of the automatic mask with all its parts, of its largest
part, and of the promptable model's answer to the box of that. `parts: largest` and `refine: box` are decided
where the mean gains at least 0.001 and 0.01, and either no scan loses or the gain's 80 % interval over
patients lies above 0; where it is undecided the mask stays as it is (`all`, `none`). --write puts that into
the card. On the test part: the automatic masks alone, as the card keeps their parts, against the maps that
its rules come to. The table goes to FOLDER/refine-MODEL-PART.txt, too; its last line is one JSON object.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from time import process_time

import numpy as np

from benchmarks.cases import ROOT
from benchmarks.mixture.refined_masks import Measured, cases_of_part, measure, whole_masks, with_labels
from sam_moe.assemble.load import load
from sam_moe.evaluation.scoring.intervals import DIFFERENCE, interval
from sam_moe.files import make_folder, replace_text
from sam_moe.predict.model import Model
from sam_moe.processes import use_threads
from sam_moe.registry import AutomaticCard, Entry, write_card
from sam_moe.registry.finding import as_automatic, find_model

LEAST = {"parts": 0.001, "refine": 0.01}  # what a mean must gain
LEVEL = 0.8  # of the interval that must lie above 0: the mean is worse once in ten times
BAR, WORST = 0.01, -0.005  # on test cases: of the mean over structures, and of each structure

Rows = Sequence[Measured]


@dataclass(frozen=True)
class Gain:
    """The gain of one way over another on the same scans, and whether it is decided."""

    values: tuple[float, ...]
    patients: tuple[str, ...]
    least: float

    @property
    def mean(self) -> float:
        """Over scans."""
        return mean(self.values)

    def within(self, level: float) -> tuple[float, float] | None:
        """The interval over patients; None of fewer than three, or where all are alike."""
        return interval(np.array(self.values), self.patients, DIFFERENCE, level=level)

    @property
    def decided(self) -> bool:
        """Whether the mean gains enough, and no scan loses or the interval lies above 0."""
        if self.mean < self.least:
            return False
        bounds = self.within(LEVEL)
        return min(self.values) >= 0 or (bounds is not None and bounds[0] > 0)

    def __str__(self) -> str:
        bounds = self.within(0.95)
        shown = "-" if bounds is None else f"{bounds[0]:+.3f} {bounds[1]:+.3f}"
        return f"{self.mean:+.3f} {shown:>15}"


@dataclass(frozen=True)
class Choice:
    """What is decided for one structure of a data set."""

    set: str
    structure: str
    rows: Rows

    @property
    def largest(self) -> Gain:
        """Of the largest part over all parts."""
        return self.gain([(row.all, row.largest) for row in self.rows], "parts")

    @property
    def box(self) -> Gain:
        """Of the answer to the box over the mask, with the parts that are decided."""
        largest = self.parts == "largest"
        return self.gain([(row.largest if largest else row.all, row.box) for row in self.rows], "refine")

    @property
    def parts(self) -> str:
        """The card's `parts`."""
        return "largest" if self.largest.decided else "all"

    @property
    def refine(self) -> str:
        """The card's `refine`."""
        return "box" if self.box.decided else "none"

    def gain(self, pairs: Sequence[tuple[float, float]], what: str) -> Gain:
        """Of the second of each pair over the first; `what` is decided by it."""
        patients = tuple(row.patient for row in self.rows)
        return Gain(tuple(after - before for before, after in pairs), patients, LEAST[what])


def main() -> None:
    """Measure, print and write the table; with --write change the card."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="id, card or folder of an automatic model")
    parser.add_argument("--then", default="small-moe", help="id or folder of the promptable model")
    parser.add_argument("--part", default="validation", choices=("validation", "test"))
    parser.add_argument("--write", action="store_true", help="put what is decided into the card")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "mixture")
    parser.add_argument("--scans", type=int, help="only so many of each set, to try it; writes no table")
    asked = parser.parse_args()
    if asked.write and asked.scans:
        parser.error("--scans tries it, and does not decide; leave one of the two out")
    if asked.write and asked.part == "test":
        parser.error("--write decides, and test cases decide nothing; leave one of the two out")
    use_threads(1)
    entry = as_automatic(find_model(asked.model, wanted=(AutomaticCard,)))
    then = load(asked.then, device="cpu")
    assert isinstance(then, Model)
    rows = all_rows(entry, then, asked.part, asked.scans)
    text = "\n".join(report(rows, entry.card, then.id, asked.part))
    print(text)
    if asked.scans is None:
        make_folder(asked.out)
        replace_text(asked.out / f"refine-{entry.card.id}-{asked.part}.txt", text + "\n")
    if asked.write:
        write_card(decided(entry.card, choices(rows)), entry.path)
        print(f"written: {entry.path}")


def all_rows(entry: Entry[AutomaticCard], then: Model, part: str, scans: int | None = None) -> list[Measured]:
    """Every structure of every scan of a part, or of the first `scans` of each of the card's data sets."""
    model, cases = whole_masks(entry), cases_of_part(part)
    by_set = [[case for case in cases if case.strata["set"] == each.id] for each in entry.card.sets]
    chosen = [case for own in by_set for case in own[:scans]]
    return [row for case in chosen for row in measure(model, entry.card, then, case)]


def choices(rows: Rows) -> list[Choice]:
    """What is decided for each structure, in the order that they come in."""
    found: dict[tuple[str, str], list[Measured]] = {}
    for row in rows:
        found.setdefault((row.set, row.structure), []).append(row)
    return [Choice(*key, tuple(own)) for key, own in found.items()]


def decided(card: AutomaticCard, found: Sequence[Choice]) -> AutomaticCard:
    """The card with what was decided; a structure that no scan shows keeps what it has."""
    return with_labels(card, {(c.set, c.structure): {"parts": c.parts, "refine": c.refine} for c in found})


def report(rows: Rows, card: AutomaticCard, then: str, part: str) -> Iterator[str]:
    """The table of a part, and the JSON line."""
    scans = len({(row.set, row.scan) for row in rows})
    yield f"{card.id}, then {then}, {part} part: {len(rows)} targets of {scans} scans, mean Dice"
    yield f"{process_time():.0f} processor seconds on one thread"
    yield from (_validation if part == "validation" else _test)(rows)


def _validation(rows: Rows) -> Iterator[str]:
    yield (
        f"{'':22}{'n':>4}{'found':>6}{'all':>7}{'largest':>8}{'gain':>8}{'95 %':>15}{'box':>7}{'gain':>8}"
        f"{'95 %':>15}  decided"
    )
    found = choices(rows)
    for choice in found:
        own = choice.rows
        yield (
            f"{choice.structure:22}{len(own):4}{sum(row.found for row in own):6}"
            f"{mean(row.all for row in own):7.3f}{mean(row.largest for row in own):8.3f}  {choice.largest}"
            f"{mean(row.box for row in own):7.3f}  {choice.box}  {choice.parts}, {choice.refine}"
        )
    yield json.dumps(
        {
            choice.structure: {
                "n": len(choice.rows),
                "all": round(mean(row.all for row in choice.rows), 4),
                "largest": round(mean(row.largest for row in choice.rows), 4),
                "box": round(mean(row.box for row in choice.rows), 4),
                "parts": choice.parts,
                "refine": choice.refine,
            }
            for choice in found
        }
    )


def _test(rows: Rows) -> Iterator[str]:
    yield f"{'':22}{'n':>4}{'all':>7}{'alone':>7}{'rule':>7}{'gain':>8}{'95 %':>15}"
    gains = {}
    for choice in choices(rows):
        own = choice.rows
        gain = choice.gain([(row.alone, row.rule) for row in own], "refine")
        gains[choice.structure] = gain.mean
        yield (
            f"{choice.structure:22}{len(own):4}{mean(row.all for row in own):7.3f}"
            f"{mean(row.alone for row in own):7.3f}{mean(row.rule for row in own):7.3f}  {gain}"
        )
    total, worst = mean(gains.values()), min(gains, key=lambda name: gains[name])
    verdicts = ["met" if total >= BAR else "missed", "met" if gains[worst] >= WORST else "missed"]
    yield f"mean over structures {total:+.4f} (bar {BAR:+.2f}: {verdicts[0]})"
    yield f"worst structure {worst} {gains[worst]:+.4f} (bar {WORST:+.3f}: {verdicts[1]})"
    yield json.dumps({"mean": round(total, 4), "gains": {k: round(v, 4) for k, v in gains.items()}})


if __name__ == "__main__":
    main()
