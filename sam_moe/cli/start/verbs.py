"""The verbs for a first look: `sam-moe doctor` and `sam-moe demo`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from sam_moe.cli.options import EVERYWHERE, AsJson, Force, ModelId

start = typer.Typer()


@start.command(epilog=EVERYWHERE)
def doctor(as_json: AsJson = False) -> None:
    """Show what is here and what would be used."""
    from sam_moe.cli.terminal.progress import ProgressLine

    with ProgressLine(quiet=as_json):
        from sam_moe.cli.start.examination import examine

        found = examine()
    typer.echo(json.dumps(found.as_json()) if as_json else str(found))
    if not found.usable:
        raise typer.Exit(1)


@start.command(epilog=EVERYWHERE)
def demo(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where to write; made if missing.")] = Path(
        "sam-moe-demo"
    ),
    model: ModelId = None,
    force: Force = False,
) -> None:
    """Segment the real scans that ship, MR and CT.

    From a point and from a box each, and without a prompt; held against their labels; writes the masks,
    labels and pictures.
    """
    from sam_moe.cli.terminal.progress import ProgressLine

    with ProgressLine() as progress:
        from sam_moe.cli.predict.loading import find_automatic, loaded, loaded_automatic
        from sam_moe.cli.start.demonstration import Loads, run

        loads = Loads(
            lambda: loaded(model).model, lambda: loaded_automatic(find_automatic(None, None), "auto").model
        )
        report = run(out, loads, progress, force=force)
    typer.echo(report)
