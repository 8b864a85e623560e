"""The rules of `sam_moe.Lowering` beside each other, on validation cases: how the defaults were chosen.

    python -m benchmarks.quality.choose_lowering [--model small-moe] [--targets 3] [--drawn KIND …]

What `flat_prompts.py` draws of the validation part (boxes, strokes, loops on one slice, at most three targets
a structure, the planes by turns), lowered by each rule and answered by one model. Mean Dice over structures,
the worst target, the mean over targets and its difference to the default with 95 % intervals over patients.
The last line is one JSON object.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from time import process_time

from benchmarks.quality.flat_prompts import RULES, Drawn, Scores, by_rule, chosen_targets, measure
from benchmarks.quality.flat_tables import Row, mean_dice, of_difference, of_share, over_targets
from sam_moe.predict.predictor import Predictor
from sam_moe.processes import use_threads
from sam_moe.prompts.lowering import Lowering


def main() -> None:
    """Measure, print a table for each kind of drawing, and the JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="small-moe")
    parser.add_argument("--targets", type=int, default=3, help="at most, of each structure")
    parser.add_argument("--drawn", nargs="+", default=list(RULES), choices=list(RULES))
    asked = parser.parse_args()
    use_threads(1)
    chosen = chosen_targets("validation", asked.targets)

    def scores_of(session: Predictor, drawn: Drawn) -> Scores:
        return {kind: dict(by_rule(session, drawn, kind)) for kind in asked.drawn}

    rows = [row for found in measure(list(enumerate(chosen)), [asked.model], scores_of) for row in found]
    scans = len({(target.set, target.case) for target in chosen})
    print(
        f"{asked.model}, validation part: {len(chosen)} targets of {scans} scans, mean Dice over structures"
    )
    print(f"{process_time():.0f} processor seconds on one thread")
    for kind in asked.drawn:
        print("\n".join(table(kind, [row for row in rows if row["drawn"] == kind])))
    print(json.dumps({kind: figures([r for r in rows if r["drawn"] == kind]) for kind in asked.drawn}))


def table(kind: str, rows: Sequence[Row]) -> Iterator[str]:
    """A line for each rule of one kind of drawing, the best mean first."""
    default = default_of(kind)
    yield f"\n{kind}: {len(rows)} targets (* the default of sam_moe.Lowering)"
    yield f"{'':16}{'mean':>7}{'least':>7}{'targets':>9}{'95 %':>14}{'to the default':>16}{'95 %':>16}"
    for name, mean in sorted(figures(rows).items(), key=lambda one: -one[1]):
        least = min(row["dice"][name] for row in rows)
        against = ""
        if name != default:
            apart = over_targets(rows, name) - over_targets(rows, default)
            against = f"{apart:+16.3f}{of_difference(rows, name, default):>16}"
        star = "*" if name == default else " "
        own = f"{over_targets(rows, name):9.3f}{of_share(rows, name):>14}"
        yield f"{name:15}{star}{mean:7.3f}{least:7.2f}{own}{against}"


def default_of(kind: str) -> str:
    """The default rule of one kind of drawing."""
    rule: str = getattr(Lowering(), kind.replace(" ", "_"))
    return rule


def figures(rows: Sequence[Row]) -> dict[str, float]:
    """Mean Dice over structures of each rule, four digits."""
    return {name: round(mean_dice(rows, name), 4) for name in rows[0]["dice"]}


if __name__ == "__main__":
    main()
