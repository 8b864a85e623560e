"""The verbs that evaluate: ask systems about a challenge, or write down what a simulated user would say."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from sam_moe.cli.predict.typed_prompts import COMMAND_LINE, EVERYWHERE, AsJson, AskedWrongly, Force

evaluation = typer.Typer()

Systems = Annotated[
    list[str] | None,
    typer.Option(
        "--system",
        metavar="ID",
        help="Id, card or folder of a model, mixture or expert. Repeatable; else small and small-moe.",
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Where the sets lie; else $SAM_MOE_DATA, else beside the YAML."),
]
Change = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=C", help="Override a setting. Repeatable.")
]
NamedProtocol = Annotated[
    str | None,
    typer.Option(
        "--protocol",
        metavar="P",
        help="click, clicks, box, flat, stroke, strokes, loop, loops, cvpr2025 or cvpr2025-flat; several "
        "with commas between. Else the challenge's.",
    ),
]
Device = Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Where to compute.")]

DEFAULT_SYSTEMS = ("small", "small-moe")


@evaluation.command(epilog=EVERYWHERE)
def evaluate(
    challenge: Annotated[
        Path | None, typer.Argument(metavar="CHALLENGE.yaml", help="Or the folder that has one.")
    ] = None,
    system: Systems = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to write; begun before, it goes on there.")
    ] = None,
    data: Data = None,
    protocol: NamedProtocol = None,
    prompts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Replay recorded prompts instead of a protocol.")
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Score masks made elsewhere, FOLDER/CASE.nii.gz; no system is asked but by --system.",
        ),
    ] = None,
    resample: Annotated[
        bool,
        typer.Option("--resample", help="Take predictions on another grid to the case's, nearest voxel."),
    ] = False,
    save_masks: Annotated[
        bool, typer.Option("--save-masks", help="Keep each case's last masks in predictions/.")
    ] = False,
    grand_challenge: Annotated[
        bool,
        typer.Option(
            "--grand-challenge",
            help="Go through the files of grand-challenge containers; with --predictions INPUT judge "
            "its jobs as an evaluation's container does, CHALLENGE being the folder of truths.",
        ),
    ] = False,
    processes: Annotated[
        int, typer.Option(min=1, metavar="N", help="Share the cases among N processes of this machine.")
    ] = 1,
    change: Change = None,
    device: Device = "auto",
    example: Annotated[
        bool, typer.Option("--example", help="Print a challenge.yaml to begin with, and stop.")
    ] = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Ask systems about every case of a challenge, with a simulated user's prompts, and score the answers.

    For example: sam-moe evaluate benchmarks/challenges/sarcoma/challenge.yaml --system small --out sarcoma

    DIR gets rows.csv, result.json and report.html. Stopped, even by force, and started again, it loses the
    case in hand and no more. --processes N, torchrun or `accelerate launch -m sam_moe evaluate …` share the
    cases.
    """
    from sam_moe.cli.progress import ProgressLine

    if example:
        from sam_moe.evaluation.challenge.example import EXAMPLE

        typer.echo(EXAMPLE, nl=False)
        return
    if challenge is None or out is None:
        raise AskedWrongly(
            "expected a challenge and --out DIR; to begin with, sam-moe evaluate --example > challenge.yaml "
            "writes a challenge"
        )
    if prompts is not None and protocol is not None:
        raise AskedWrongly(
            "both --prompts and --protocol. Recorded prompts are replayed as they are; give one"
        )
    from sam_moe.cli.own_files import METRICS, check_evaluation
    from sam_moe.ownership import check_folder

    if grand_challenge and predictions is not None:
        check_folder(out, METRICS, force=force)
        _judge(challenge, predictions, out)
        return
    with ProgressLine(quiet=as_json) as progress:
        progress("reading the challenge")
        from functools import partial

        from sam_moe.evaluation.asking.systems import ask_models
        from sam_moe.evaluation.evaluate import evaluate as run
        from sam_moe.evaluation.finishing import EvaluationRequest

        read = _challenge(challenge, data, change)
        check_evaluation(out, [file for file in (challenge, prompts) if file], predictions, force=force)
        scripts, checksum = _scripts(protocol or read.protocol, prompts)
        request = EvaluationRequest(
            read,
            scripts,
            out,
            processes=processes,
            save_masks=save_masks,
            prompts=checksum,
            predictions=predictions,
            resample=resample,
            command=("sam-moe", *COMMAND_LINE.get()),
        )
        asked = tuple(system or (() if predictions else DEFAULT_SYSTEMS))
        if grand_challenge:
            from sam_moe.evaluation.grand_challenge.submission import submit

            if len(asked) != 1:
                raise AskedWrongly("--grand-challenge hands in one system's masks. Name it with --system ID")
            progress("answering as the container would")
            _show(submit(read, ask_models(asked, device)[0], scripts, out, request.command), as_json)
            return
        done = run(request, partial(ask_models, asked, device), progress)
    if done is None:  # one of several processes, and not the first
        return
    _show(done, as_json)


@evaluation.command(epilog=EVERYWHERE)
def simulate(
    challenge: Annotated[Path, typer.Argument(metavar="CHALLENGE.yaml", help="Or the folder that has one.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The prompt file to write, .json.")],
    protocol: NamedProtocol = None,
    system: Annotated[
        str,
        typer.Option(
            metavar="ID",
            help="Who answers, where a protocol goes by the errors of answers: clicks, strokes, loops or "
            "cvpr2025.",
        ),
    ] = "small",
    data: Data = None,
    change: Change = None,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Write what a simulated user says about every target of a challenge, so that all can be told the same.

    For example: sam-moe simulate demo/challenge.yaml --protocol clicks --out prompts.json

    Replay it: sam-moe evaluate CHALLENGE.yaml --prompts prompts.json --out DIR
    """
    from sam_moe.cli.progress import ProgressLine

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
        read = _challenge(challenge, data, change)
        scripts = scripts_for(protocol or read.protocol)
        answering = ask_models((system,), device)[0] if needs_answers(scripts) else None
        recorded = run(read, scripts, out, answering, progress)
        write_json(recorded, out)
    targets = sum(len(case.targets) for case in recorded.cases)
    typer.echo(f"{targets} targets of {len(recorded.cases)} cases: {out}")


def _judge(truths: Path, jobs: Path, out: Path) -> None:
    """The work of an evaluation's container."""
    from sam_moe.evaluation.grand_challenge.judging import judge, truths_of

    rows = judge(truths_of(truths), jobs, out)
    missed = sum(row.missed for row in rows)
    typer.echo(f"{len(rows)} cases, {missed} missed: {out / 'metrics.json'}")


def _challenge(path: Path, data: Path | None, change: list[str] | None) -> Any:
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
    return load_challenge(path, data, change or ())


def _scripts(protocol: str, prompts: Path | None) -> tuple[Any, str]:
    """What is said, and the checksum of the file that it comes from."""
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
