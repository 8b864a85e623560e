"""`sam-moe experts`: list, show, check, add, remove and route; what they need is imported when one runs."""

import json
from pathlib import Path
from typing import Annotated

import typer

from sam_moe.cli.evaluate.route import route
from sam_moe.cli.models.gate_changes import Growth, grow, is_gate, leave_out, left_behind, put_back
from sam_moe.cli.options import AsJson, ListedByDefault, UsageError

experts = typer.Typer(cls=ListedByDefault, help="List, show, check, add or remove experts.")
experts.command("route")(route)

Expert = Annotated[str, typer.Argument(metavar="ID", help="As in the list; or a card or its folder.")]
Folder = Annotated[
    Path | None, typer.Option("--folder", metavar="FOLDER", help="Folder of cards; else the user's own.")
]


@experts.command("list")
def list_all(as_json: AsJson = False) -> None:
    """List the experts and the licence of all of them in one mixture."""
    from sam_moe.cli.models import expert_pages
    from sam_moe.registry import plugins
    from sam_moe.registry.finding import list_experts

    found, offered = list_experts(), plugins()
    known = expert_pages.as_json(found, offered) if as_json else None
    typer.echo(json.dumps(known) if as_json else expert_pages.table(found, offered))


@experts.command("show")
def show(id: Expert, as_json: AsJson = False) -> None:
    """Show all that an expert's card says."""
    from sam_moe.cli.models.expert_pages import page
    from sam_moe.registry.finding import find_expert

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
    from sam_moe.cli.terminal.progress import ProgressLine

    with ProgressLine() as progress:
        progress("checking experts")
        from sam_moe.registry.finding import find_expert, list_experts
        from sam_moe.systems.sam_med3d_moe.cards.experts import check_expert

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
            help="A .pth, .pt or .safetensors checkpoint; or the folder of a finished expert, of an adapter "
            "(PEFT), or of what was removed.",
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
    regions: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Regions cut from the cases for the expert, else 96; twice for others.",
        ),
    ] = None,
) -> None:
    """Add an expert: a finetuned decoder, deltas on it, or a whole finetuned model.

    The least that a card says: id, title, base (its id), covers, licence, not_for. Of a whole model whose
    encoder is the base's, the decoder alone is kept. Nothing is written unless all fits.

    With --gate and --examples, a gate gets a column for it: what the gate knows of its other experts keeps
    every bit. That gate stays, and the new one is written to your own folder. An expert that is here already
    with the same weights is taken as it is; SOURCE may then be its id.
    """
    from sam_moe.cli.terminal.progress import ProgressLine
    from sam_moe.errors import WeightsError

    if (gate is None) != (examples is None):
        raise UsageError("--gate and --examples go together: which gate, and on which cases it is fitted.")
    if to is not None and gate is None:
        raise UsageError("--to names a new gate; give --gate and --examples too.")
    if regions is not None and gate is None:
        raise UsageError("--regions are cut from the cases of --examples; give --gate and those too.")
    where = f" --folder {folder}" if folder else ""
    if is_gate(source):
        if card is not None or gate is not None:
            raise UsageError(f"{source} is the folder of a gate; give it alone, to put it back.")
        back = put_back(source, folder)
        typer.echo(f"{back.name}: a gate, back in {back}")
        typer.echo(f"Undo it: sam-moe experts remove {back.name}{where}", err=True)
        return
    with ProgressLine() as progress:
        progress("reading and checking the expert")
        from sam_moe.registry.removal import remove_card
        from sam_moe.systems.sam_med3d_moe.cards.experts import keep_expert

        try:
            kept = keep_expert(source, card, folder, again=gate is not None)
        except WeightsError as error:
            # The report of keys has several lines, and is meant to be read.
            typer.echo(f"sam-moe: {error}", err=True)
            raise typer.Exit(1) from error
        entry = kept.checked.entry
        id, lines, undo = entry.card.id, [str(kept.checked)], []
        if not kept.new:
            lines = [f"{id}: here already with the same weights, in {entry.folder}"]
        if gate is not None and examples is not None:
            progress("fitting the gate")

            def take_back() -> None:
                if kept.new:
                    remove_card(id, folder)

            grown, name = grow(entry, gate, Growth(examples, to, regions), take_back, kept.base)
            lines.append(grown)
            undo.append(f"sam-moe experts remove {name}")
    if kept.new:
        undo.append(f"sam-moe experts remove {id}{where}")
    typer.echo("\n".join(lines))
    typer.echo(f"Undo it: {'; '.join(undo)}", err=True)


@experts.command("remove")
def remove(
    id: Annotated[
        str, typer.Argument(metavar="ID", help="An expert's as in the list, or a gate's of your own.")
    ],
    folder: Folder = None,
    gate: Annotated[
        str | None,
        typer.Option(metavar="GATE", help="Id or folder of a gate: leave the expert out of this one."),
    ] = None,
    to: Annotated[
        str | None, typer.Option(metavar="ID", help="The id of the gate without it; else GATE-without-ID.")
    ] = None,
) -> None:
    """Take an expert or a gate out of the folder; what was removed is kept and can be put back.

    With --gate nothing is taken out: a new gate without the expert's column is written to your own folder, in
    which the other columns keep every bit. Says which gates choose among an expert that is gone.
    """
    where = f" --folder {folder}" if folder else ""
    if gate is not None:
        if folder is not None:
            raise UsageError("--folder says where an expert is removed from; a gate goes to your own folder.")
        made, name = leave_out(id, gate, to)
        typer.echo(made)
        typer.echo(f"Undo it: sam-moe experts remove {name}", err=True)
        return
    if to is not None:
        raise UsageError("--to names a new gate; give --gate too.")
    from sam_moe.registry.removal import remove_card

    aside = remove_card(id, folder)
    typer.echo(f"{id}: removed, kept in {aside}")
    for remark in left_behind(id):
        typer.echo(f"sam-moe: warning: {remark}", err=True)
    typer.echo(f"Undo it: sam-moe experts add {aside}{where}", err=True)
