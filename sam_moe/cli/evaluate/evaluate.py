"""`sam-moe evaluate` and `simulate`: systems asked about a challenge, a simulated user's prompts kept."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from sam_moe.cli.options import COMMAND_LINE, EVERYWHERE, Changes, Device, Force, UsageError, Writing
from sam_moe.cli.records import takes_records

evaluation = typer.Typer()

Protocol = Annotated[
    str | None,
    typer.Option(
        "--protocol",
        metavar="P",
        help="click, clicks, box, flat, stroke, strokes, loop, loops, cvpr2025, cvpr2025-flat; automatic: no "
        "prompt. Several with commas between. Else the challenge's.",
    ),
]

DEFAULT_SYSTEMS = ("small", "small-moe")


@dataclass(frozen=True)
class ChallengeOptions:
    """Where a challenge's sets lie, and what is changed of its settings."""

    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where the sets lie; else $SAM_MOE_DATA, else beside the YAML."),
    ] = None
    change: Changes = None


@dataclass(frozen=True)
class AskingOptions:
    """Which systems are asked, by which prompts, and where they compute."""

    system: Annotated[
        list[str] | None,
        typer.Option(
            "--system",
            metavar="ID",
            help="Id, card or folder of a model, mixture or expert, or of an automatic model, which is asked "
            "without a prompt. Repeatable; else small and small-moe.",
        ),
    ] = None
    protocol: Protocol = None
    prompts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Replay recorded prompts instead of a protocol.")
    ] = None
    device: Device = "auto"


@dataclass(frozen=True)
class Masks:
    """Masks that were made elsewhere and are scored, and whether those of systems are kept."""

    predictions: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Score masks made elsewhere, FOLDER/CASE.nii.gz; no system is asked but by --system.",
        ),
    ] = None
    resample: Annotated[
        bool,
        typer.Option("--resample", help="Take predictions on another grid to the case's, nearest voxel."),
    ] = False
    save_masks: Annotated[
        bool, typer.Option("--save-masks", help="Keep each case's last masks in predictions/.")
    ] = False


@dataclass(frozen=True)
class Way:
    """How an evaluation runs: in how many processes, through which files, or not at all."""

    grand_challenge: Annotated[
        bool,
        typer.Option(
            "--grand-challenge",
            help="Go through the files of grand-challenge containers; with --predictions INPUT judge "
            "its jobs as an evaluation's container does, CHALLENGE being the folder of truths.",
        ),
    ] = False
    processes: Annotated[
        int, typer.Option(min=1, metavar="N", help="Share the cases among N processes of this machine.")
    ] = 1
    example: Annotated[
        bool, typer.Option("--example", help="Print a challenge.yaml to begin with, and stop.")
    ] = False


@evaluation.command(epilog=EVERYWHERE)
@takes_records(
    "challenge system out data protocol prompts predictions resample save_masks grand_challenge processes "
    "change device example force as_json"
)
def evaluate(
    source: ChallengeOptions,
    asking: AskingOptions,
    masks: Masks,
    way: Way,
    writing: Writing,
    challenge: Annotated[
        Path | None, typer.Argument(metavar="CHALLENGE.yaml", help="Or the folder that has one.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to write; begun before, it goes on there.")
    ] = None,
) -> None:
    """Ask systems about every case of a challenge, with a simulated user's prompts, and score the answers.

    For example: sam-moe evaluate benchmarks/challenges/sarcoma/challenge.yaml --system small --out sarcoma

    DIR gets rows.csv, result.json and report.html. Stopped, even by force, and started again, it loses the
    case in hand and no more. --processes N, torchrun or `accelerate launch -m sam_moe evaluate …` share the
    cases.
    """
    if way.example:
        from sam_moe.evaluation.challenge.example import EXAMPLE

        typer.echo(EXAMPLE, nl=False)
        return
    if challenge is None or out is None:
        raise UsageError(
            "expected a challenge and --out DIR; to begin with, sam-moe evaluate --example > challenge.yaml "
            "writes a challenge"
        )
    if asking.prompts is not None and asking.protocol is not None:
        raise UsageError("both --prompts and --protocol. Recorded prompts are replayed as they are; give one")
    if way.grand_challenge and masks.predictions is not None:
        return _judge(challenge, masks.predictions, out, force=writing.force)
    from sam_moe.cli.own_files import check_evaluation
    from sam_moe.cli.terminal.progress import ProgressLine

    with ProgressLine(quiet=writing.as_json) as progress:
        progress("reading the challenge")
        from functools import partial

        from sam_moe.evaluation.asking.systems import ask_models, ask_systems
        from sam_moe.evaluation.evaluate import evaluate as run
        from sam_moe.evaluation.finishing import EvaluationRequest

        read = _challenge(challenge, source)
        inputs = [file for file in (challenge, asking.prompts) if file]
        check_evaluation(out, inputs, masks.predictions, force=writing.force)
        scripts, checksum = _scripts(asking.protocol or read.protocol, asking.prompts)
        request = EvaluationRequest(
            read,
            scripts,
            out,
            processes=way.processes,
            save_masks=masks.save_masks,
            prompts=checksum,
            predictions=masks.predictions,
            resample=masks.resample,
            command=("sam-moe", *COMMAND_LINE.get()),
        )
        ids = tuple(asking.system or (() if masks.predictions else DEFAULT_SYSTEMS))
        if way.grand_challenge:
            from sam_moe.evaluation.grand_challenge.submission import submit

            if len(ids) != 1:
                raise UsageError("--grand-challenge hands in one system's masks. Name it with --system ID")
            progress("answering as the container would")
            done = submit(read, ask_models(ids, asking.device)[0], scripts, out, request.command)
            return _show(done, writing.as_json)
        found = run(request, partial(ask_systems, ids, asking.device), progress)
    if found is not None:  # None in all but the first of several processes
        _show(found, writing.as_json)


@evaluation.command(epilog=EVERYWHERE)
@takes_records("challenge out protocol system data change device force")
def simulate(
    challenge: Annotated[Path, typer.Argument(metavar="CHALLENGE.yaml", help="Or the folder that has one.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The prompt file to write, .json.")],
    source: ChallengeOptions,
    protocol: Protocol = None,
    system: Annotated[
        str,
        typer.Option(
            metavar="ID",
            help="Who answers, where a protocol goes by the errors of answers: clicks, strokes, loops or "
            "cvpr2025.",
        ),
    ] = "small",
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Write a simulated user's prompts for every target of a challenge, so that all systems get the same.

    For example: sam-moe simulate demo/challenge.yaml --protocol clicks --out prompts.json

    Replay it: sam-moe evaluate CHALLENGE.yaml --prompts prompts.json --out DIR
    """
    from sam_moe.cli.terminal.progress import ProgressLine

    with ProgressLine() as progress:
        progress("reading the challenge")
        from sam_moe.cli.own_files import check_file
        from sam_moe.config import write_json
        from sam_moe.evaluation.asking.protocols import scripts_for
        from sam_moe.evaluation.asking.simulate import needs_answers
        from sam_moe.evaluation.asking.simulate import simulate as run
        from sam_moe.evaluation.asking.systems import ask_models
        from sam_moe.files import check_writable
        from sam_moe.ownership import recorded_prompts

        check_file(out, recorded_prompts, [challenge], force=force)
        check_writable(out.parent)
        read = _challenge(challenge, source)
        scripts = scripts_for(protocol or read.protocol)
        answering = ask_models((system,), device)[0] if needs_answers(scripts) else None
        recorded = run(read, scripts, out, answering, progress)
        write_json(recorded, out)
    targets = sum(len(case.targets) for case in recorded.cases)
    typer.echo(f"{targets} targets of {len(recorded.cases)} cases: {out}")


def _judge(truths: Path, jobs: Path, out: Path, *, force: bool) -> None:
    """Score the jobs of a challenge's container as its evaluation container does."""
    from sam_moe.cli.own_files import METRICS
    from sam_moe.evaluation.grand_challenge.judging import judge, truths_of
    from sam_moe.ownership import check_folder

    check_folder(out, METRICS, force=force)
    rows = judge(truths_of(truths), jobs, out)
    missed = sum(row.missed for row in rows)
    typer.echo(f"{len(rows)} cases, {missed} missed: {out / 'metrics.json'}")


def _challenge(path: Path, source: ChallengeOptions) -> Any:
    from sam_moe.errors import ConfigError
    from sam_moe.evaluation.challenge.challenge import load_challenge

    if path.is_dir():
        inside = path / "challenge.yaml"
        if not inside.is_file():
            from sam_moe.evaluation.challenge.example import SHORTEST

            raise ConfigError(
                f"{path}: has no challenge.yaml, which says where its cases are and what their labels mean. "
                f"{SHORTEST} sam-moe evaluate --example > {inside} writes one with every key explained."
            )
        path = inside
    return load_challenge(path, source.data, source.change or ())


def _scripts(protocol: str, prompts: Path | None) -> tuple[Any, str]:
    """The prompts of a protocol or a file, and the checksum of the file."""
    from hashlib import sha256

    from sam_moe.evaluation.asking.protocols import replays_of, scripts_for
    from sam_moe.prompts import promptset

    if prompts is None:
        return scripts_for(protocol), ""
    return replays_of(promptset.read(prompts)), sha256(prompts.read_bytes()).hexdigest()


def _show(done: Any, as_json: bool) -> None:
    from sam_moe.cli.evaluate.result_table import table
    from sam_moe.evaluation.results import REPORT, RESULT, ROWS

    files = {
        name.rpartition(".")[0]: str(done.path / name)
        for name in (ROWS, RESULT, REPORT)
        if (done.path / name).is_file()
    }
    if as_json:
        typer.echo(json.dumps({"files": files, "summary": done.result.summary["all"]}))
        return
    typer.echo(table(done))
    typer.echo("\n".join(f"{what}: {path}" for what, path in files.items()), err=True)
