"""The command `sam-moe`: its verbs put together; each verb imports what it needs only when it runs."""

from typing import Annotated

import typer

from sam_moe import __version__
from sam_moe.cli.evaluate.compare import comparing
from sam_moe.cli.evaluate.evaluate import evaluation
from sam_moe.cli.models.checkpoints import checkpoints, conversion
from sam_moe.cli.models.experts import experts
from sam_moe.cli.models.gates import gates
from sam_moe.cli.options import EVERYWHERE
from sam_moe.cli.predict.segment import segmentation
from sam_moe.cli.predict.verb import prediction
from sam_moe.cli.start.verbs import start
from sam_moe.cli.train import training

# Plain help: drawing it with rich would cost more than everything else that --help does.
app = typer.Typer(
    help="Promptable 3D segmentation: point at it, get it.", rich_markup_mode=None, epilog=EVERYWHERE
)
app.add_typer(prediction)
app.add_typer(segmentation)
app.add_typer(conversion)
app.add_typer(start)
app.add_typer(checkpoints, name="checkpoints")
app.add_typer(experts, name="experts")
app.add_typer(gates, name="gates")
app.add_typer(training)
app.add_typer(evaluation)
app.add_typer(comparing)


def _version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"sam-moe {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Promptable 3D segmentation: point at it, get it."""
