"""The mixture against its general model, its experts and what could replace it, on kept-aside cases.

    python -m benchmarks.mixture.reproduce [--model small-moe] [--part test] [--processes 2]
                                           [--out FOLDER] [--again]

Needs the data folder (SAM_MOE_DATA). Every system is asked by the same simulated user: a click at the
deepest voxel, then four more, each at the largest error of its own answer, and one box for all. Mean Dice per
structure, left and right pooled, with 95 % intervals over patients; hard routing takes each structure's own
expert, the oracle whichever decoder was best on that case. Keeps every answer in FOLDER/reproduce.jsonl,
from which --again makes the tables without asking, and the picture in FOLDER/reproduce.png. The last line is
one JSON object.
"""

import argparse
import json
import multiprocessing
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.cases import ROOT
from benchmarks.mixture.answers import Answer, answers_of
from benchmarks.mixture.picture import draw, threshold_of
from benchmarks.mixture.systems import load_systems
from benchmarks.mixture.tables import figures, read_answers, record_of, tables
from benchmarks.quality.answer_files import write_answers
from benchmarks.quality.blocks import Target, first_patients, targets
from sam_moe.processes import use_threads

_worker: dict[str, Any] = {}


def main() -> None:
    """Ask everything, then write the rows and the picture, print the tables and the JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="small-moe", help="id or folder of a gate's card")
    parser.add_argument("--general", default="small", help="its backbone")
    parser.add_argument("--part", default="test", choices=("test", "validation"))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "mixture")
    parser.add_argument("--patients", type=int, help="only so many of each set, to try it")
    parser.add_argument("--again", action="store_true", help="ask nothing: the tables from kept answers")
    asked = parser.parse_args()
    start = perf_counter()
    if asked.again:
        answers = read_answers(asked.out / "reproduce.jsonl")
        chosen = list(dict.fromkeys(answer.target for answer in answers))
    else:
        chosen, _ = targets(asked.part)
        if asked.patients:
            chosen = first_patients(chosen, asked.patients)
        answers = ask_all(chosen, asked.model, asked.general, asked.processes)
        asked.out.mkdir(parents=True, exist_ok=True)
        write_answers(asked.out / "reproduce.jsonl", answers, record_of)
        draw(answers, threshold_of(asked.model), asked.out / "reproduce.png")
    scans = len({(target.set, target.case) for target in chosen})
    print(f"{asked.model}, {asked.part} part: {len(chosen)} targets of {scans} scans, mean Dice\n")
    print("\n".join(tables(answers)))
    spent = None if asked.again else round(perf_counter() - start)
    print("\nfrom kept answers" if asked.again else f"\n{spent} s with {asked.processes} processes")
    print(json.dumps({**figures(answers), "part": asked.part, "wall_seconds": spent}))


def ask_all(chosen: Sequence[Target], gate: str, general: str, processes: int) -> list[Answer]:
    """Deal the scans over processes of one thread each; the answers' order does not depend on how many."""
    jobs = sorted(_by_scan(chosen), key=len, reverse=True)  # the long ones first
    found: list[Answer] = []
    start = perf_counter()
    with multiprocessing.get_context("spawn").Pool(processes, _start, (gate, general)) as pool:
        for done, answers in enumerate(pool.imap_unordered(_ask, jobs), start=1):
            found += answers
            spent = perf_counter() - start
            print(f"\r{done} of {len(jobs)} scans, {spent:.0f} s", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    order = {target: number for number, target in enumerate(chosen)}
    return sorted(found, key=lambda answer: order[answer.target])


def _by_scan(chosen: Sequence[Target]) -> Iterator[list[Target]]:
    scans: dict[tuple[str, str], list[Target]] = defaultdict(list)
    for target in chosen:
        scans[target.set, target.case].append(target)
    yield from scans.values()


def _start(gate: str, general: str) -> None:
    use_threads(1)
    _worker["systems"] = load_systems(gate, general)


def _ask(job: Sequence[Target]) -> list[Answer]:
    return list(answers_of(job, _worker["systems"]))


if __name__ == "__main__":
    main()
