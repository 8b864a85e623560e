"""`sam-moe experts`: list, show, check, add, remove and route; what they need is imported when one runs."""

import json
from pathlib import Path
from typing import Annotated

import typer

from sam_moe.cli.asked import AsJson, AskedWrongly, ListedByDefault
from sam_moe.cli.expert_routes import route

experts = typer.Typer(cls=ListedByDefault, help="List, show, check, add or remove experts.")
experts.command("route")(route)

Expert = Annotated[str, typer.Argument(metavar="ID", help="As in the list; or a card or its folder.")]
Folder = Annotated[
    Path | None, typer.Option("--folder", metavar="FOLDER", help="Folder of cards; else the user's own.")
]


@experts.command("list")
def list_all(as_json: AsJson = False) -> None:
    """List the experts and the licence of all of them in one mixture."""
    from sam_moe.assemble.experts import list_experts
    from sam_moe.cli import expert_pages
    from sam_moe.registry import plugins

    found, offered = list_experts(), plugins()
    say = expert_pages.as_json(found, offered) if as_json else None
    typer.echo(json.dumps(say) if as_json else expert_pages.table(found, offered))


@experts.command("show")
def show(id: Expert, as_json: AsJson = False) -> None:
    """Show all that an expert's card says."""
    from sam_moe.assemble.experts import find_expert
    from sam_moe.cli.expert_pages import page

    entry = find_expert(id)
    typer.echo(entry.card.model_dump_json(indent=2, exclude_none=True) if as_json else page(entry))


@experts.command("check")
def check(
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID]...", help="Which; all that are listed if none is named."),
    ] = None,
) -> None:
    """Check experts: files, checksums, shapes, finite numbers, and that the base is the one of the card.

    Stops at the first that fails.
    """
    from sam_moe.cli.progress import Progress

    with Progress() as tell:
        tell("checking experts")
        from sam_moe.assemble.experts import check_expert, find_expert, list_experts

        entries = [find_expert(id) for id in ids] if ids else list(list_experts())
        for entry in entries:
            typer.echo(str(check_expert(entry)))
    if not entries:
        typer.echo("no experts here; add one with sam-moe experts add", err=True)


@experts.command("add")
def add(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="A .pth, .pt or .safetensors checkpoint; or the folder of a finished expert.",
        ),
    ],
    card: Annotated[
        Path | None,
        typer.Option(metavar="CARD.json", help="Its card; checksums may be missing. Else the one in SOURCE."),
    ] = None,
    folder: Folder = None,
    gate: Annotated[
        str | None,
        typer.Option(
            metavar="GATE", help="Id or folder of a gate that learns to choose it; with --examples."
        ),
    ] = None,
    examples: Annotated[
        Path | None,
        typer.Option(
            metavar="CASES", help="Its cases, to fit the gate on: a set, or a folder of images/ and labels/."
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Leave the gate as it is, and write the new one under this id."),
    ] = None,
) -> None:
    """Add an expert: a finetuned decoder, deltas on it, or a whole finetuned model.

    The least that a card says: id, title, base (its id), covers, licence, not_for. Of a whole model whose
    encoder is the base's, the decoder alone is kept. Nothing is written unless all fits.

    With --gate and --examples, a gate gets a column for it: what the gate knows of its other experts keeps
    every bit. That gate stays, and the new one is written to your own folder.
    """
    from sam_moe.cli.progress import Progress
    from sam_moe.errors import WeightsError

    if (gate is None) != (examples is None):
        raise AskedWrongly("--gate and --examples go together: which gate, and on which cases it is fitted.")
    if to is not None and gate is None:
        raise AskedWrongly("--to names a new gate; give --gate and --examples too.")
    with Progress() as tell:
        tell("reading and checking the expert")
        from sam_moe.assemble.experts import add_expert, check_expert, remove_expert

        try:
            checked = check_expert(add_expert(source, card, folder))
        except WeightsError as error:
            # The report of keys has several lines, and is meant to be read.
            typer.echo(f"sam-moe: {error}", err=True)
            raise typer.Exit(1) from error
        grown = None
        if gate is not None and examples is not None:
            tell("fitting the gate")
            from sam_moe.cli.gates import grow

            id = checked.entry.card.id
            grown = grow(checked.entry, gate, examples, to, lambda: remove_expert(id, folder))
    typer.echo(str(checked))
    if grown is not None:
        typer.echo(grown)
    where = f" --folder {folder}" if folder else ""
    undo = f"Undo it: sam-moe experts remove {checked.entry.card.id}{where}"
    typer.echo(undo if grown is None else f"{undo}; and delete the gate's folder", err=True)


@experts.command("remove")
def remove(
    id: Annotated[str, typer.Argument(metavar="ID", help="As in the list.")], folder: Folder = None
) -> None:
    """Take an expert out of the folder; what was removed is kept and can be put back."""
    from sam_moe.assemble.experts import remove_expert

    aside = remove_expert(id, folder)
    where = f" --folder {folder}" if folder else ""
    typer.echo(f"{id}: removed, kept in {aside}")
    typer.echo(f"Undo it: sam-moe experts add {aside}{where}", err=True)
