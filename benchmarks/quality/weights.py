"""The table of the shipped weights: clicks and boxes on cases kept aside, against the classical tools.

    python -m benchmarks.quality.weights [--model ID] [--part test] [--processes 2] [--quick]
                                 [--peer-patients 2] [--rows FILE] [--again]

Needs the data folder and scikit-image (`pip install -e '.[benchmarks]'`). LiteMedSAM stands in the table
where it is installed (see `slicewise.py`). Mean Dice for 1, 3 and 5 clicks and a box, 95 % intervals
over patients. Clicked tools are asked twice: with corrections of their own errors, and with the very clicks
that ours was given; margins are taken from the same prompts, and `margin_own_corrections_min` from the
other. Seconds are the median processor time of one core, which a busy machine changes least; an answer
includes embedding what was not embedded yet. --again makes the table from the answers that are kept in
`results/quality/weights.jsonl`, where --rows put them. The last line is one JSON object.
"""

import argparse
import json
import multiprocessing
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import sam_moe
from benchmarks.cases import ROOT
from benchmarks.peers import slicewise
from benchmarks.quality.answer_files import read_answers, write_answers
from benchmarks.quality.blocks import BLOCKS, GENERAL, Target, first_patients, targets
from benchmarks.quality.tables import means, seconds, table
from benchmarks.quality.tools import CLASSICAL, GROWING, OUR_POINTS, OURS, PEER, WALKER, Row, rows_of
from sam_moe.processes import use_threads
from sam_moe.registry.finding import DEFAULT_MODEL

KEPT = ROOT / "benchmarks" / "results" / "quality" / "weights.jsonl"
_worker: dict[str, Any] = {}


def main() -> None:
    """Ask everything, then print the table and the JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--part", default="test", choices=("test", "validation"))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="the first two patients of each general set")
    parser.add_argument(
        "--peer-patients",
        type=int,
        default=2,
        help="so many of each general set for LiteMedSAM, which is slow",
    )
    parser.add_argument("--rows", type=Path, help="also keep every answer in this file")
    parser.add_argument("--again", action="store_true", help="ask nothing: the table from kept answers")
    asked = parser.parse_args()
    start = perf_counter()
    if asked.again:
        rows = read_answers(KEPT, lambda target, tool, score, _: Row(target, tool, score))
        chosen = list(dict.fromkeys(row.target for row in rows))
    else:
        chosen, left_out = targets(asked.part)
        if asked.quick:
            chosen = first_patients([target for target in chosen if target.block == GENERAL], 2)
        rows = ask_all(chosen, asked.model, asked.processes, asked.peer_patients)
    print(
        f"{asked.model}, {asked.part} part: {len(chosen)} targets of {len(_by_scan(chosen))} scans, mean Dice"
    )
    if not asked.again:
        print("left out: " + "; ".join(f"{count} {reason}" for reason, count in left_out.items()))
    refused = Counter(row.tool for row in rows if row.score.refused)
    print(f"answers refused (the mask stays as it was): {dict(refused) or 'none'}")
    print(_about_peer(rows))
    print("\n".join(table(rows)))
    if asked.rows:
        write_answers(asked.rows, rows, lambda row: (row.tool, {}))
    spent = None if asked.again else round(perf_counter() - start)
    print("\nfrom kept answers" if asked.again else f"\n{spent} s with {asked.processes} processes")
    print(json.dumps({**figures(rows), "part": asked.part, "wall_seconds": spent}))


def ask_all(chosen: list[Target], model: str, processes: int, peer_patients: int) -> list[Row]:
    """Deal the scans over processes of one thread each; the rows' order does not depend on how many."""
    general = [target for target in chosen if target.block == GENERAL]
    slow = {(target.set, target.case) for target in first_patients(general, peer_patients)}
    jobs = [(scan, (scan[0].set, scan[0].case) in slow) for scan in _by_scan(chosen)]
    jobs.sort(key=lambda job: (not job[1], -len(job[0])))  # the long ones first
    rows: list[Row] = []
    start = perf_counter()
    with multiprocessing.get_context("spawn").Pool(processes, _start, (model,)) as pool:
        for done, found in enumerate(pool.imap_unordered(_ask, jobs), start=1):
            rows += found
            spent = perf_counter() - start
            print(f"\r{done} of {len(jobs)} scans, {spent:.0f} s", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    order = {target: number for number, target in enumerate(chosen)}
    return sorted(rows, key=lambda row: order[row.target])  # stable: within a target as they were asked


def figures(rows: Sequence[Row]) -> dict[str, Any]:
    """What the JSON line says: ours on the general structures, and how far ahead of the others."""
    general = {column: found.mean for column, found in means(rows, GENERAL).items()}
    ours = {prompt: round(general[OURS, prompt], 4) for prompt in ("click1", "click3", "click5", "box")}
    ahead = {
        f"{tool} {prompt}": round(general[OURS, prompt] - mean, 4)
        for (tool, prompt), mean in general.items()
        if tool not in (OURS, PEER)
    }
    own = {key for key in ahead if any(key == f"{tool} click{n}" for tool in OUR_POINTS for n in (3, 5))}
    asked = [row for row in rows if row.target.block == GENERAL]
    return {
        **ours,
        "margin_over_classical_min": min(ahead[key] for key in ahead if key not in own),
        "margin_own_corrections_min": min(ahead[key] for key in own),
        "margin_over_litemedsam": ahead_of_peer(rows),
        "margins": ahead,
        "blocks": {
            block: {
                p: round(found.mean, 4) for (tool, p), found in means(rows, block).items() if tool == OURS
            }
            for block in BLOCKS
        },
        "seconds": {
            f"{tool} {prompt}": round(seconds(asked, (tool, prompt)), 4)
            for tool in (OURS, *CLASSICAL, PEER)
            for prompt in (("click1", "click5", "box") if tool == OURS else _prompts(tool))
            if (tool, prompt) in general
        },
    }


def ahead_of_peer(rows: Sequence[Row]) -> float | None:
    """How far ours is ahead of LiteMedSAM from the same boxes, over the targets that it was asked about."""
    asked = {row.target for row in rows if row.tool == PEER}
    if not asked:
        return None
    own = means([row for row in rows if row.target in asked], GENERAL)
    return round(own[OURS, "box"].mean - own[PEER, "box"].mean, 4)


def _about_peer(rows: Sequence[Row]) -> str:
    asked = {row.target for row in rows if row.tool == PEER}
    if not asked:
        return "LiteMedSAM is not installed, or was not asked: its column is missing (see slicewise.py)."
    patients = len({target.patient for target in asked})
    ahead = ahead_of_peer(rows)
    return (
        f"LiteMedSAM (a learned peer) was asked about {len(asked)} targets of {patients} patients only, as "
        f"it is slow; on these, ours minus LiteMedSAM from the same boxes is {ahead:+.3f}."
    )


def _prompts(tool: str) -> tuple[str, ...]:
    return ("click1", "click5") if tool in (GROWING, WALKER) else ("box",)


def _by_scan(chosen: Sequence[Target]) -> list[list[Target]]:
    scans: dict[tuple[str, str], list[Target]] = defaultdict(list)
    for target in chosen:
        scans[target.set, target.case].append(target)
    return [sorted(found, key=lambda target: target.block != GENERAL) for found in scans.values()]


def _start(model: str) -> None:
    use_threads(1)
    _worker["model"] = sam_moe.load(model)
    _worker["peer"] = slicewise.load_network() if slicewise.installed() else None


def _ask(job: tuple[Sequence[Target], bool]) -> list[Row]:
    scan, slow = job
    return list(rows_of(scan, _worker["model"], _worker["peer"] if slow else None))


if __name__ == "__main__":
    main()
