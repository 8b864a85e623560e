"""`sam-moe compare`: results held against each other; what it needs is imported when it runs."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from sam_moe.cli.options import COMMAND_LINE, EVERYWHERE, Writing
from sam_moe.cli.records import takes_records

comparing = typer.Typer()


@dataclass(frozen=True)
class Compared:
    """The metrics, prompts and systems of the results that are compared."""

    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="dice, nsd, hd95_mm, vs or volume_error_ml. Repeatable; else dice and nsd.",
        ),
    ] = None
    prompt: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Compare after this prompt, such as click5; automatic masks and such as were "
            "made elsewhere then stand for themselves. "
            "Repeatable; else after the first and the last that all were asked.",
        ),
    ] = None
    system: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Compare only this system and others named. Repeatable; else all."),
    ] = None


@comparing.command(epilog=EVERYWHERE)
@takes_records("result metric prompt system out seed force as_json")
def compare(
    result: Annotated[
        list[Path], typer.Argument(metavar="RESULT…", help="Folders that sam-moe evaluate wrote to.")
    ],
    what: Compared,
    writing: Writing,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Also write comparison.html and comparison.json there."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of the resampled patients.")] = 0,
) -> None:
    """Rank the systems of one or several results, by several rules, and say how sure that is.

    For example: sam-moe compare ours theirs --metric dice --metric nsd --out ranking

    All must have been asked the same about the same targets; what a system missed counts with the worst
    values.
    """
    from sam_moe.cli.terminal.progress import ProgressLine

    with ProgressLine(quiet=writing.as_json) as progress:
        progress("reading the results")
        from sam_moe.evaluation.compare.comparison import DEFAULT_METRICS
        from sam_moe.evaluation.compare.comparison import compare as run
        from sam_moe.evaluation.compare.page import write_comparison
        from sam_moe.evaluation.results import read_result

        if out is not None:
            from sam_moe.cli.own_files import COMPARISON
            from sam_moe.files import check_writable
            from sam_moe.ownership import check_folder

            check_folder(out, COMPARISON, force=writing.force)
            check_writable(out)
        folders = [read_result(folder) for folder in result]
        progress("ranking")
        metrics = tuple(dict.fromkeys(what.metric or DEFAULT_METRICS))
        found = run(folders, metrics, what.prompt or (), seed, only=tuple(dict.fromkeys(what.system or ())))
        page = write_comparison(found, out, ("sam-moe", *COMMAND_LINE.get())) if out is not None else None
    typer.echo(json.dumps(found.as_json(), ensure_ascii=False) if writing.as_json else str(found))
    if page is not None and not writing.as_json:
        typer.echo(f"page: {page}", err=True)
