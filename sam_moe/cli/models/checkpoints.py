"""`sam-moe checkpoints` and `sam-moe convert`: models listed, shown, and made of foreign checkpoints."""

import json
from pathlib import Path
from typing import Annotated

import typer

from sam_moe.cli.options import EVERYWHERE, AsJson, ListedByDefault

checkpoints = typer.Typer(cls=ListedByDefault, help="List the models, or show one.")
conversion = typer.Typer()


@checkpoints.command("list")
def list_checkpoints(as_json: AsJson = False) -> None:
    """List the models, and whether their weights are here."""
    from sam_moe.cli.models.model_list import listed, table

    found = listed()
    typer.echo(json.dumps([item.as_json() for item in found]) if as_json else table(found))


@checkpoints.command("show")
def show_checkpoint(
    id: Annotated[str, typer.Argument(metavar="ID", help="As in the list.")], as_json: AsJson = False
) -> None:
    """Show all that a model's card says."""
    from sam_moe.cli.models.checkpoint_pages import page
    from sam_moe.cli.models.model_list import find

    item = find(id)
    typer.echo(item.entry.card.model_dump_json(indent=2) if as_json else page(item))


@conversion.command(epilog=EVERYWHERE)
def convert(
    source: Annotated[Path, typer.Argument(help="A .pth, .pt or .safetensors checkpoint of a SAM-Med3D.")],
    id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="Its name from now on; else made of the file's.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Folder of cards; else the user's own.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a model of that name.")] = False,
) -> None:
    """Turn a checkpoint into safetensors and a card.

    A checkpoint that does not fit gets a report of what is missing, unexpected or of another shape.
    """
    from sam_moe.cli.terminal.progress import ProgressLine

    with ProgressLine() as progress:
        progress("reading and checking the checkpoint")
        from sam_moe.errors import WeightsError
        from sam_moe.systems.sam_med3d_moe.cards.convert import convert as run

        try:
            made = run(source, to, id, force=force)
        except WeightsError as error:
            # The report of keys has several lines, and is meant to be read.
            typer.echo(f"sam-moe: {error}", err=True)
            raise typer.Exit(1) from error
    typer.echo(str(made))
    name = made.card.id if to is None else made.path.parent
    typer.echo(f"Use it: sam-moe predict SCAN --point I J K --model {name} --out MASK", err=True)
