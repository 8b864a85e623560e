"""`sam-moe checkpoints` and `sam-moe convert`: models listed, shown, and made of foreign checkpoints."""

import json
from pathlib import Path
from typing import Annotated

import typer

from sam_moe.cli.options import EVERYWHERE, AsJson, ListedByDefault, UsageError

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
    source: Annotated[
        Path,
        typer.Argument(help="A .pth, .pt or .safetensors checkpoint of a SAM-Med3D, of M4oE or of Swin-MAE."),
    ],
    id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="Its name from now on; else made of the file's.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Folder of cards; else the user's own.")
    ] = None,
    card: Annotated[
        Path | None,
        typer.Option(
            metavar="DRAFT",
            help="M4oE, Swin-MAE: a JSON file with any fields of the card, such as sets with title, "
            "spacing_mm, intensity and labels.",
        ),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(metavar="PIXELS", help="M4oE, Swin-MAE: edge of a picture, where no tensor shows it."),
    ] = None,
    heads: Annotated[
        str | None,
        typer.Option(metavar="N,N,…", help="Swin-MAE: classes of each data set, the background included."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a model of that name.")] = False,
) -> None:
    """Turn a checkpoint into safetensors and a card.

    A checkpoint of SAM-Med3D, of M4oE's public code or of Swin-MAE is recognised by its tensors' names. One
    that does not fit gets a report of what is missing, unexpected or of another shape.
    """
    classes = None if heads is None else _whole_numbers(heads)

    from sam_moe.cli.terminal.progress import ProgressLine

    with ProgressLine() as progress:
        progress("reading and checking the checkpoint")
        from sam_moe.errors import WeightsError
        from sam_moe.systems.m4oe.convert.converting import Wanted, convert_public
        from sam_moe.systems.m4oe.convert.names import origin_of
        from sam_moe.systems.sam_med3d_moe.cards.convert import convert as convert_sam
        from sam_moe.weights.files import read_state

        try:
            if origin_of(read_state(source)):
                public = convert_public(source, to, Wanted(id, card, image_size, classes, force))
                shown, place, use = str(public), public.path, public.use
            elif (card, image_size, heads) != (None, None, None):
                raise UsageError(
                    f"{source} is no checkpoint of M4oE or Swin-MAE: --card, --image-size and --heads are "
                    "for those."
                )
            else:
                made = convert_sam(source, to, id, force=force)
                shown, place = str(made), made.path
                use = "sam-moe predict SCAN --point I J K --model {} --out MASK"
        except WeightsError as error:
            # The report of keys has several lines, and is meant to be read.
            typer.echo(f"sam-moe: {error}", err=True)
            raise typer.Exit(1) from error
    typer.echo(shown)
    name = place.parent.name if to is None else place.parent
    typer.echo(f"Use it: {use.format(name)}", err=True)


def _whole_numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(
            f"--heads {text}: expected whole numbers with commas between, as in 8,5,3."
        ) from error
