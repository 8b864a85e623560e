"""What everything costs, from reading a scan to training an expert, and how it grows: one table, one JSON.

    python -m benchmarks.speed.everything [--rounds 3] [--threads N] [--only SECTION ...] [--out FOLDER]

Random weights of the public model's sizes, `small` where that is what users wait for, synthetic scans.
Everything is measured in rounds, each row in turn with its plain way, so that a neighbour on the machine
disturbs both alike; reported are medians and quartiles, the ratio within a round, the share of what this
machine multiplies or copies at best in the same run, and how far the resident memory rises. Writes speed.txt,
speed.json and speed.png.
"""

import argparse
import json
import os
import platform
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterable
from datetime import date
from importlib.metadata import version
from pathlib import Path
from time import perf_counter, process_time

from benchmarks.cases import ROOT
from benchmarks.speed.encoder import hardware
from benchmarks.speed.estimate import estimate
from benchmarks.speed.picture import draw, exponent
from benchmarks.speed.rows import Clock, Rates, Row, Task, as_json, duration, measure, table
from benchmarks.speed.sections.cases import CASES, cases
from benchmarks.speed.sections.experts import SECTION as EXPERTS
from benchmarks.speed.sections.experts import experts
from benchmarks.speed.sections.growth import Growth, growth
from benchmarks.speed.sections.many import many
from benchmarks.speed.sections.stages import STAGES, WAITING, stages, waiting
from benchmarks.speed.sections.training import SECTION as TRAINING
from benchmarks.speed.sections.training import training
from sam_moe.processes import processors, threads, use_threads

CLOCKS = ("seconds by the wall", "seconds of the processor, all threads summed")
PACKAGES = ("torch", "numpy", "nibabel", "SimpleITK", "torchio", "segment-anything", "accelerate")

# Name on the command line, title, tasks.
SECTIONS: dict[str, tuple[str, Callable[[Path], Iterable[Task]]]] = {
    "stages": (STAGES, stages),
    "waiting": (WAITING, waiting),
    "experts": (EXPERTS, experts),
    "cases": (CASES, cases),
    "training": (TRAINING, training),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=None, help="torch's own choice by default")
    parser.add_argument(
        "--processor-time",
        action="store_true",
        help="seconds of the processor, all threads summed, instead of the wall's: for a busy machine, with "
        "--threads 1; not of the section about many cases",
    )
    parser.add_argument("--cases", type=int, default=20, help="of the section about many cases")
    parser.add_argument("--only", nargs="+", choices=[*SECTIONS, "many", "growth"], help="leave out the rest")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "speed")
    asked = parser.parse_args()
    if asked.threads:
        use_threads(asked.threads)
    if asked.processor_time:
        Clock.now = process_time
    start, rates, rows, grown = perf_counter(), Rates(), list[Row](), list[Growth]()
    wanted = asked.only or [*SECTIONS, "many", "growth"]
    print(hardware(), flush=True)
    for name, (title, tasks) in SECTIONS.items():
        if name in wanted:
            with tempfile.TemporaryDirectory() as folder:
                rows += shown(measure(title, tasks(Path(folder)), asked.rounds, rates))
    if "many" in wanted:
        rows += shown(many(asked.cases))
    if "growth" in wanted:
        with tempfile.TemporaryDirectory() as folder:
            grown = growth(Path(folder))
    write(asked.out, rows, grown, rates, perf_counter() - start, asked.rounds)


def shown(rows: list[Row]) -> list[Row]:
    """Show a section as soon as it is measured."""
    print(table(rows), flush=True)
    return rows


def write(out: Path, rows: list[Row], grown: list[Growth], rates: Rates, seconds: float, rounds: int) -> None:
    """The table, the JSON and the picture."""
    measured = {
        "hardware": hardware(),
        "cores": processors(),
        "system": platform.platform(),
        "versions": {name: version(name) for name in PACKAGES},
        "threads": threads(),
        "clock": CLOCKS[Clock.now is process_time],
        "dtype": "float32 where a row does not say otherwise",
        "load_1_5_15_min": os.getloadavg(),
        "rounds": rounds,
        "seconds": round(seconds),
        "matmul_gflop_s": round(rates.median("matmul"), 1) if rates.matmul_gflop_s else None,
        "copy_mb_s": round(rates.median("copy"), 1) if rates.copy_mb_s else None,
        "rows": as_json(rows),
        "growth": [vars(one) for one in grown],
    }
    asked = [option for option in sys.argv[1:] if option not in ("--out", str(out))]
    command = shlex.join(["python", "-m", "benchmarks.speed.everything", *asked])
    out.mkdir(parents=True, exist_ok=True)
    (out / "speed.json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    text = "\n".join(
        [
            f"command: {command}   ({date.today()}, {seconds:.0f} s)",
            f"{hardware()}; {measured['clock']}",
            f"floors: {measured['matmul_gflop_s']} GFLOP/s at 4096^3, {measured['copy_mb_s']} MB/s copied",
            f"load of the machine at the end: {', '.join(f'{x:.1f}' for x in os.getloadavg())}",
            "",
            table(rows),
            "",
            *grown_lines(grown),
            "",
            *estimate(rows, threads()),
        ]
    )
    (out / "speed.txt").write_text(text + "\n", encoding="utf-8")
    if grown:
        draw(grown, out / "speed.png", hardware())
    print(f"{seconds:.0f} s; written to {out / 'speed.txt'}, speed.json and speed.png")


def grown_lines(grown: list[Growth]) -> list[str]:
    """Growth in figures: the exponent of each curve, and its times."""
    lines = ["growth (seconds; exponent of the best power)"] if grown else []
    for one in grown:
        lines.append(f"  {one.over}: {', '.join(f'{size:g}' for size in one.sizes)}")
        for name, seconds in one.curves.items():
            times = ", ".join(duration(s) for s in seconds)
            lines.append(f"    {name:<16}{exponent(one.sizes, seconds):>6.2f}   {times}")
    return lines


if __name__ == "__main__":
    main()
