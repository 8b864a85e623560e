"""Kill every verb that writes, at random moments, start again, and compare with a run that was not killed.

    python -m benchmarks.commands.kills [--kills 300] [--seed 0] [--verb "predict one" ...] [--out FILE]

Kills are spread evenly over all verbs; --verb has some of them killed alone, as often as with all.

Each run is a process of its own, forked from one that has imported torch, and is killed by SIGKILL: every
second one after a share of the time that a whole run takes, drawn evenly, every other one just before one of
its file operations, drawn evenly among all. Then the same is started again, or another way to ask in its
place, and what came of it is compared to the bit with a run in a fresh folder. What ended before its kill is
not counted. The exit status is 1 if anything was wrong.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from benchmarks.commands.kill_cases import VERBS, Found, Verb, broken, leftovers, misnamed
from benchmarks.commands.kill_stock import make_stock
from sam_moe.cli import main as sam_moe
from sam_moe.processes import use_threads

CHANGES = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "shutil.rmtree"}
FAULTS = ("wrong results", "stale figures", "broken cards", "leftovers", "failed starts")


@dataclass
class Tally:
    """What came of the kills of one verb."""

    kills: int = 0
    late: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    reports: list[str] = field(default_factory=list)

    def add(self, fault: str, found: Sequence[str], where: str) -> None:
        """Count a fault, once a kill, and note where."""
        if found:
            self.faults[fault] += 1
            self.reports.append(f"{where}: {fault}: {'; '.join(found)[:500]}")


@dataclass(frozen=True)
class Whole:
    """What runs without a kill give, by way; how long the longest took, and its file operations."""

    wanted: Mapping[str, Found]
    seconds: float
    operations: int


class Bench:
    """A folder with the stock of all cases, and a new folder for each."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.stock, self.places = folder, folder / "stock", 0
        self.stock.mkdir()
        make_stock(self.stock)
        os.environ["SAM_MOE_CHECKPOINTS"] = str(self.stock / "cards")

    def place(self) -> Path:
        """A new empty folder for a case; the one before is gone."""
        shutil.rmtree(self.folder / str(self.places), ignore_errors=True)
        self.places += 1
        place = self.folder / str(self.places)
        place.mkdir()
        return place

    def start(self, verb: Verb, place: Path, way: str, watch: Callable[[], None] | None = None) -> int:
        """Start a verb in a process of its own, and return its number."""
        words = verb.ask(self.stock, place, way)
        sys.stdout.flush()
        pid = os.fork()
        if pid:
            return pid
        code = 70
        try:
            log = os.open(f"{place}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.chdir(place)
            os.environ["SAM_MOE_CACHE"] = str(place / "cache")
            if watch is not None:
                watch()
            code = sam_moe(words)
            if watch is None and (names := os.environ.get("KILLS_MODULES")):
                Path(names).write_text("\n".join(sorted(sys.modules)))
        finally:
            os._exit(code)

    def finish(self, verb: Verb, place: Path, way: str) -> list[str]:
        """Run a verb to its end; what is wrong with how it ended."""
        code = ended(self.start(verb, place, way))
        if code in verb.again:
            return []
        lines = Path(f"{place}.log").read_text(errors="replace").strip().splitlines()
        return [f"exit status {code}: {' '.join(lines[-3:])}"]

    def warm(self, verb: Verb) -> None:
        """Import here what the verb imports, so that each process that is forked starts at its work."""
        os.environ["KILLS_MODULES"] = str(self.folder / "modules")
        ended(self.start(verb, self.place(), verb.ways[0]))
        del os.environ["KILLS_MODULES"]
        for name in (self.folder / "modules").read_text().split("\n"):
            with suppress(Exception):  # some modules of others are made, and cannot be imported
                import_module(name)

    def whole(self, verb: Verb) -> Whole:
        """Run each way without a kill."""
        self.warm(verb)
        wanted, seconds, operations = {}, 0.0, 0
        for way in verb.ways:
            place = self.place()
            count = place.with_suffix(".count")
            began = time.monotonic()
            pid = self.start(verb, place, way, lambda place=place, count=count: counting(place, count))
            if ended(pid) != 0:
                raise SystemExit(f"{verb.name} fails unkilled: {Path(f'{place}.log').read_text()[-2000:]}")
            seconds = max(seconds, time.monotonic() - began)
            operations = max(operations, count.stat().st_size)
            wanted[way] = verb.found(place)
        return Whole(wanted, seconds, operations)


def ended(pid: int) -> int:
    """Wait for a process; its exit status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def on_change(place: Path, act: Callable[[], None]) -> None:
    """Act just before each file operation in a folder, in this process."""

    def hook(event: str, args: tuple[object, ...]) -> None:
        if event not in CHANGES:
            return
        path = str(args[0])
        inside = path.startswith(str(place)) or not path.startswith("/")
        writes = event != "open" or (isinstance(args[1], str) and bool(set(args[1]) & set("wax")))
        if inside and writes:
            act()

    sys.addaudithook(hook)


def counting(place: Path, count: Path) -> None:
    """A byte for each file operation."""
    number = os.open(count, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    on_change(place, lambda: os.write(number, b".") and None)


def dying(place: Path, at: int) -> None:
    """Be killed just before file operation `at`."""
    seen = 0

    def act() -> None:
        nonlocal seen
        seen += 1
        if seen == at:
            os.kill(os.getpid(), signal.SIGKILL)

    on_change(place, act)


def kill_once(bench: Bench, verb: Verb, whole: Whole, draw: random.Random, tally: Tally) -> None:
    """One kill, the next start, and all that must hold then."""
    place = bench.place()
    before, killed, after = (draw.choice(verb.ways) for _ in range(3))
    begun = draw.random() < 0.5
    where = f"{verb.name}: kill {tally.kills + 1}: {f'{before} finished, ' if begun else ''}{killed} killed"
    if begun:
        tally.add("failed starts", bench.finish(verb, place, before), where)
    if draw.random() < 0.5:
        moment = draw.uniform(0, whole.seconds)
        where += f" after {moment:.3f} s"
        pid = bench.start(verb, place, killed)
        time.sleep(moment)
        os.kill(pid, signal.SIGKILL)
    else:
        at = draw.randint(1, max(1, whole.operations))
        where += f" before file operation {at}"
        pid = bench.start(verb, place, killed, lambda: dying(place, at))
    if ended(pid) != -signal.SIGKILL:
        tally.late += 1
        return
    tally.kills += 1
    where += f", {after} asked"
    tally.add("broken cards", broken(place), where)
    tally.add("wrong results", misnamed(place, whole.wanted), where)
    tally.add("failed starts", bench.finish(verb, place, after), where)
    tally.add("broken cards", broken(place), where)
    tally.add("leftovers", leftovers(place), where)
    try:
        found = verb.found(place)
    except Exception as error:  # whatever there is cannot be read
        found = {"": f"{type(error).__name__}: {error}"}
    wanted = whole.wanted[after]
    names = sorted({*found, *wanted})
    wrong = [name for name in names if found.get(name) != wanted.get(name)]
    tally.add("stale figures" if verb.name == "evaluate" else "wrong results", wrong, where)


def run(
    folder: Path, kills: int, seed: int, names: Sequence[str] | None = None, seconds: float = float("inf")
) -> dict[str, Tally]:
    """So many kills over all verbs, each as often, of which those with these names have their turn.

    After so many seconds there are no more kills; the tallies say how far it came.
    """
    bench, tallies, end = Bench(folder), {}, time.monotonic() + seconds
    for number, verb in enumerate(VERBS):
        share = kills * (number + 1) // len(VERBS) - kills * number // len(VERBS)
        if names is not None and verb.name not in names:
            continue
        whole, tally = bench.whole(verb), Tally()
        draw = random.Random(f"{seed} {verb.name}")
        print(
            f"{verb.name}: a whole run takes {whole.seconds:.2f} s and {whole.operations} file operations",
            flush=True,
        )
        while tally.kills < share and tally.late < 5 * share + 10 and time.monotonic() < end:
            kill_once(bench, verb, whole, draw, tally)
        tallies[verb.name] = tally
        print(line(verb.name, tally), *tally.reports, sep="\n", flush=True)
    return tallies


def line(name: str, tally: Tally) -> str:
    """One row of the table."""
    counts = "".join(f"{tally.faults[fault]:>15}" for fault in FAULTS)
    return f"{name:<14}{tally.kills:>6}{counts}   ({tally.late} ended before their kill)"


def main() -> int:
    """Kill, and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verb", action="append", choices=[verb.name for verb in VERBS])
    parser.add_argument("--minutes", type=float, default=float("inf"), help="then no more kills")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    use_threads(1)
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        tallies = run(Path(folder).resolve(), asked.kills, asked.seed, asked.verb, 60 * asked.minutes)
    total = Tally(sum(t.kills for t in tallies.values()), sum(t.late for t in tallies.values()))
    for tally in tallies.values():
        total.faults += tally.faults
        total.reports += tally.reports
    head = f"{'verb':<14}{'kills':>6}" + "".join(f"{fault:>15}" for fault in FAULTS)
    table = "\n".join([head, *(line(name, tally) for name, tally in tallies.items()), line("all", total)])
    text = f"python -m benchmarks.commands.kills --kills {asked.kills} --seed {asked.seed}\n\n{table}\n"
    text += "".join(f"{where}\n" for where in total.reports)
    print(f"\n{table}")
    if asked.out:
        asked.out.write_text(text)
    return int(bool(total.faults.total()))


if __name__ == "__main__":
    sys.exit(main())
