"""Every door at the public model's full size: seconds a region and a step, memory and disk of each.

    python -m benchmarks.commands.doors [--kin] [--keep FOLDER] [--threads 2]

The checkpoint is made here, of random weights in the public shape (324 tensors, 100,509,232 parameters), and
converted by `sam-moe convert`; each verb is a process of its own, on the demonstration's scans. `--kin` takes
the reduced model of the tests. The first door that fails ends it with exit code 1. The last line is one JSON
object.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open

from benchmarks.cases import ROOT
from benchmarks.commands.doors_walk import KIN, PUBLIC, Door, Place, doors, lay_out
from sam_moe.training.engine.machines import hardware


@dataclass(frozen=True)
class Passed:
    """What a door took: seconds by clock and by processor, peak memory, what it left, and details."""

    name: str
    seconds: float
    processor_s: float
    memory_mb: float
    disk_mb: float
    details: str

    def __str__(self) -> str:
        figures = f"{self.seconds:8.1f} {self.processor_s:9.1f} {self.memory_mb:9,.0f} {self.disk_mb:9,.1f}"
        return f"{self.name:<42} {figures}  {self.details}".rstrip()


def go_through(door: Door, environment: Mapping[str, str]) -> Passed:
    """Run a door's command line in a process of its own."""
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "sam_moe", *door.words],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - began
        output.seek(0)
        text = output.read()
    refused = bool(door.refusal) and process.returncode == 1 and door.refusal in text
    if not refused and (process.returncode or not door.made.exists()):
        sys.exit(f"{door.name}: exit code {process.returncode}\n{' '.join(door.words)}\n{text}")
    worked = used.ru_utime + used.ru_stime
    size, details = 0.0, f"refused: {door.refusal}"
    if not refused:
        size, details = _size_mb(door.made), details_of(door.made)
    return Passed(door.name, seconds, worked, used.ru_maxrss / 1024, size, details)


def details_of(made: Path) -> str:
    """Seconds a region and a step, as far as what a door made keeps them."""
    found = []
    if (record := made.with_name(f"{made.name.removesuffix('.nii.gz')}.run.json")).is_file():
        for target in json.loads(record.read_text())["targets"]:
            spent = ((stage, target["timings_ms"].get(stage, 0) / 1000) for stage in ("encode", "decode"))
            found.append(" and ".join(f"{stage} {seconds:.2f} s" for stage, seconds in spent))
    if (embedded := made / "train.embedded.safetensors").is_file():
        with safe_open(embedded, framework="pt") as file:
            about = json.loads(file.metadata()["embedded"])
        found.append(f"{about['seconds'] / about['count']:.2f} s a region encoded")
    if (tables := made / "tables.json").is_file():
        found.append(f"tables {sum(json.loads(tables.read_text()).values()):.1f} s")
    if (log := made / "log.jsonl").is_file():
        rows = [json.loads(line) for line in log.read_text().splitlines()]
        rates = [row["samples_per_s"] for row in rows if "samples_per_s" in row]
        found += [f"{1 / rate:.2f} s a sample" for rate in rates[:1]]
    return ", ".join(found)


def _size_mb(made: Path) -> float:
    files = [made] if made.is_file() else [path for path in made.rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files) / 1e6


def main() -> None:
    """Walk through all doors and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kin", action="store_true", help="The reduced model instead of the full size.")
    parser.add_argument("--keep", type=Path, help="An empty folder to work in, which stays.")
    parser.add_argument("--threads", type=int, default=2, help="Of each process.")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as aside:
        place: Place = lay_out(asked.keep or Path(aside), KIN if asked.kin else PUBLIC)
        environment = {**place.environment, "OMP_NUM_THREADS": str(asked.threads)}
        print(hardware(1), f"{asked.threads} threads", sep="; ")
        print(f"{'door':<42} {'seconds':>8} {'processor':>9} {'memory MB':>9} {'disk MB':>9}")
        passed = []
        for door in doors(place):
            passed.append(go_through(door, environment))
            print(passed[-1], flush=True)
    print(json.dumps([vars(one) for one in passed]))


if __name__ == "__main__":
    main()
