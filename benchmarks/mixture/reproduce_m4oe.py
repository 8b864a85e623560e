"""The automatic models' figures on test patients, from the weights that ship, beside what was asked for.

    python -m benchmarks.mixture.reproduce_m4oe [--models auto-small …] [--processes 2]
                                    [--out FOLDER] [--run FOLDER] [--again]

Needs the data folder (SAM_MOE_DATA). Every test scan of the sets that the models learnt is segmented as
`sam-moe segment` does, and once more with the expert of its data set; sarcomas of the limbs, which no model
learnt, are only held against what it learnt. Prints Dice by structure with 95 % intervals over patients,
which modality the gates name, the information between their choice and the modality, how many foreign volumes
are flagged, seconds, and each figure that was asked for, met or missed. A false alarm is a known test scan
that is flagged; the level of 5 % is taken on these very scans, so it shows how well foreign and known scans
can be parted, not what a level chosen beforehand would do.

Rows are kept one by one in RUN and moved to FOLDER/reproduce_m4oe.jsonl at the end; killed and started again
it goes on. Beside them FOLDER gets reproduce_m4oe.csv, and m4oe_routing_MODEL.png and .csv: the experts of
each gated place by modality. With --again the tables are made from the kept rows. The last line is one JSON
object.
"""

import argparse
import csv
import io
import json
import multiprocessing
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean
from time import perf_counter
from typing import Any

from benchmarks.cases import ROOT
from benchmarks.mixture.m4oe.figures import (
    Figure,
    by_structure,
    figures,
    interval_of,
    mean_dice,
    routing_of,
    seconds_by_set,
)
from benchmarks.mixture.m4oe.kept_rows import Rows
from benchmarks.mixture.m4oe.scans import CHALLENGE, Job, Seen, jobs, known_cases, see
from benchmarks.mixture.m4oe.seconds import SECONDS, seconds_of
from sam_moe.assemble.load import load_automatic
from sam_moe.evaluation.routing.modality_picture import draw
from sam_moe.evaluation.routing.picture import as_png
from sam_moe.files import make_folder, replace_bytes, replace_text
from sam_moe.predict.automatic.model import AutomaticModel
from sam_moe.processes import processors, use_threads
from sam_moe.registry import Registry

ROWS, TABLE, ROUTING = "reproduce_m4oe.jsonl", "reproduce_m4oe.csv", "m4oe_routing_{}"

_worker: dict[str, Any] = {}


def shipped() -> list[str]:
    """The ids of the automatic models that ship."""
    return [entry.card.id for entry in Registry().automatics()]


def main() -> None:
    """See every scan, then print the tables and keep rows, table and pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--models", nargs="+", default=shipped(), help="ids or folders; by default all that ship"
    )
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "mixture")
    parser.add_argument("--run", type=Path, default=ROOT / "runs" / "reproduce-m4oe")
    parser.add_argument("--challenge", type=Path, default=CHALLENGE, help="the scans; to try others")
    parser.add_argument("--known-only", action="store_true", help="leave the foreign scans out")
    parser.add_argument("--again", action="store_true", help="from the kept rows, without the scans")
    asked = parser.parse_args()
    start = perf_counter()
    models = [load_automatic(name, device="cpu") for name in asked.models]
    kept = Rows(asked.out / ROWS if asked.again else asked.run / ROWS)
    if not asked.again:
        see_all(asked.models, models, kept, asked)
    make_folder(asked.out)
    found: list[Figure] = []
    for model in models:
        rows = kept.of(model.id, model.card.weights.sha256)
        if not rows:
            raise SystemExit(f"{kept.path}: no rows of these weights of {model.id}. Run without --again.")
        print("\n".join(shown(model, rows)), flush=True)
        found += figures(rows, model.card)
        before = timed_before(asked.out / TABLE, model.id)
        found += before if asked.again else seconds_of(model, known_cases(asked.challenge))
        picture(model, rows, asked.out)
    print("\n".join(verdicts(found)))
    replace_text(asked.out / TABLE, as_csv(found))
    if not asked.again:
        kept.move(asked.out / ROWS)
    spent = None if asked.again else round(perf_counter() - start)
    missed = [f"{figure.model}: {figure.what}" for figure in found if figure.verdict == "missed"]
    print(json.dumps({"models": [model.id for model in models], "missed": missed, "wall_seconds": spent}))


def see_all(
    names: Sequence[str], models: Sequence[AutomaticModel], kept: Rows, asked: argparse.Namespace
) -> None:
    """See what no row is kept of, on processes of one thread each; each row is kept as it comes."""
    listed = jobs(known_cases(asked.challenge), foreign=not asked.known_only)
    left = [
        (number, job)
        for number, model in enumerate(models)
        for job in listed
        if job.id not in {row.scan for row in kept.of(model.id, model.card.weights.sha256)}
    ]
    start, of = perf_counter(), len(left)
    given = (tuple(names), asked.challenge)
    with multiprocessing.get_context("spawn").Pool(asked.processes, _start, given) as pool:
        for done, row in enumerate(pool.imap_unordered(_see, left), start=1):
            kept.add(row)
            spent = perf_counter() - start
            words = f"\r{done} of {of} scans, {spent:.0f} s, {spent / done * (of - done):.0f} s left  "
            print(words, end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def _start(names: Sequence[str], challenge: Path) -> None:
    use_threads(1)
    _worker["models"] = [load_automatic(name, device="cpu") for name in names]
    _worker["cases"] = known_cases(challenge)


def _see(job: tuple[int, Job]) -> Seen:
    number, scan = job
    return see(_worker["models"][number], scan, _worker["cases"])


def shown(model: AutomaticModel, rows: Sequence[Seen]) -> list[str]:
    """A model's tables: size, Dice by structure in three ways, seconds, what foreign scans are taken for."""
    size = sum(parameter.numel() for parameter in model.network.module.parameters())  # type: ignore[attr-defined]
    scans = len([row for row in rows if row.own])
    lines = ["", f"{model.id}: {size / 1e6:.2f} M parameters; {scans} test scans"]
    lines.append(f"{'structure':<22}  {'n':>3}  {'Dice':<18}  {'set given':>9}  {'expert given':>12}")
    ways = [by_structure(rows, way) for way in ("alone", "gated", "forced")]
    for name, own in ways[0].items():
        edges = interval_of(own)
        dice = f"{mean(value for value, _ in own):.3f}" + (" ({:.2f}–{:.2f})".format(*edges) if edges else "")
        gated, forced = (mean(value for value, _ in way[name]) for way in ways[1:])
        lines.append(f"{name:<22}  {len(own):>3}  {dice:<18}  {gated:>9.3f}  {forced:>12.3f}")
    means = [mean_dice(rows, way) for way in ("alone", "gated", "forced")]
    lines.append(
        f"{'MEAN over structures':<22}  {'':>3}  {means[0]:<18.3f}  {means[1]:>9.3f}  {means[2]:>12.3f}"
    )
    for name, seconds in seconds_by_set(rows).items():
        lines.append(f"{name}: {seconds:.2f} s a scan on one thread, median")
    foreign = [row for row in rows if not row.own]
    for modality in dict.fromkeys(row.modality for row in foreign):
        own_rows = [row for row in foreign if row.modality == modality]
        taken = {
            id: sum(row.taken == id for row in own_rows) for id in dict.fromkeys(r.taken for r in own_rows)
        }
        words = ", ".join(f"{id} {count}" for id, count in taken.items())
        lines.append(f"foreign {modality}, {len(own_rows)} volumes, taken for: {words}")
    return lines


def timed_before(table: Path, model: str) -> list[Figure]:
    """A model's seconds as they were measured with the kept rows."""
    if not table.is_file():
        return []
    lines = csv.DictReader(table.read_text("utf-8").splitlines())
    own = [line for line in lines if line["model"] == model and line["figure"].startswith(SECONDS)]
    return [
        Figure(model, line["figure"], float(line["asked"]), float(line["reached"]), least=False)
        for line in own
    ]


def picture(model: AutomaticModel, rows: Sequence[Seen], out: Path) -> None:
    """Keep the routing by modality as picture and table, where there are gates."""
    found = routing_of(rows, model.card)
    if not found.places:
        return
    title = f"mean weight of each expert on test slices, by gated place and modality; {model.id}"
    replace_bytes(out / f"{ROUTING.format(model.id)}.png", as_png(draw(found, title)))
    replace_text(out / f"{ROUTING.format(model.id)}.csv", found.as_csv())


def verdicts(found: Iterable[Figure]) -> list[str]:
    """A line a figure: asked, reached, met or missed."""
    lines = ["", f"{'model':<12}  {'asked':>8}  {'reached':>8}  {'':<6}  figure"]
    for figure in found:
        sign = ("≥" if figure.least else "≤") if figure.asked is not None else ""
        asked = "" if figure.asked is None else f"{sign} {figure.asked:g}"
        lines.append(
            f"{figure.model:<12}  {asked:>8}  {figure.reached:>8.3f}  {figure.verdict:<6}  {figure.what}"
        )
    return lines


def as_csv(found: Iterable[Figure]) -> str:
    """The same as a table for programs."""
    table = io.StringIO()
    write = csv.writer(table, lineterminator="\n")
    write.writerow(["model", "figure", "bound", "asked", "reached", "verdict"])
    for one in found:
        bound = "least" if one.least else "most"
        asked = "" if one.asked is None else one.asked
        write.writerow([one.model, one.what, bound, asked, round(one.reached, 5), one.verdict])
    return table.getvalue()


if __name__ == "__main__":
    print(f"{processors()} processors", file=sys.stderr)
    main()
