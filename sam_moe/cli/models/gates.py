"""`sam-moe gates`: list, show, add, remove and route; gates get and lose experts; imports wait for a verb."""

import json
from pathlib import Path
from typing import Annotated

import typer

from sam_moe.cli.evaluate.route import route
from sam_moe.cli.models.gate_changes import (
    Growth,
    grow,
    is_gate,
    leave_out,
    put_back,
)
from sam_moe.cli.options import AsJson, ListedByDefault, UsageError

gates = typer.Typer(cls=ListedByDefault, help="List, show, add, remove or change the gates over experts.")
gates.command("route")(route)

Gate = Annotated[str, typer.Argument(metavar="GATE", help="Id or folder of a gate; see sam-moe gates.")]
Expert = Annotated[str, typer.Argument(metavar="EXPERT", help="Id or folder of one; see sam-moe experts.")]
Folder = Annotated[
    Path | None, typer.Option("--folder", metavar="FOLDER", help="Folder of cards; else the user's own.")
]
NewId = Annotated[
    str | None, typer.Option("--to", metavar="ID", help="Id of the new gate; else made of both.")
]


@gates.command("list")
def list_gates(as_json: AsJson = False) -> None:
    """List the gates, the experts that each chooses among, and how it chooses."""
    from sam_moe.cli.models import gate_pages
    from sam_moe.cli.models.model_list import listed_gates

    found = listed_gates()
    lines = [gate_pages.as_json(item) for item in found]
    typer.echo(json.dumps(lines) if as_json else gate_pages.table(found))


@gates.command("show")
def show(id: Gate, as_json: AsJson = False) -> None:
    """Show all that a gate's card says."""
    from sam_moe.cli.models.checkpoint_pages import page
    from sam_moe.cli.models.model_list import find
    from sam_moe.registry.finding import find_gate

    entry = find_gate(id)
    typer.echo(entry.card.model_dump_json(indent=2) if as_json else page(find(str(entry.path))))


@gates.command("add")
def add(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="The folder of a gate that was removed.")],
    folder: Folder = None,
) -> None:
    """Put a gate back that was removed.

    A gate that was trained needs no adding: --model takes its folder.
    """
    if not is_gate(source):
        raise UsageError(
            f"{source}: holds no card of a gate. Expected the folder that sam-moe gates remove named."
        )
    back = put_back(source, folder)
    typer.echo(f"{back.name}: a gate, back in {back}")
    typer.echo(f"Undo it: sam-moe gates remove {back.name}{_in(folder)}", err=True)


@gates.command("remove")
def remove(id: Gate, folder: Folder = None) -> None:
    """Take a gate of your own out of its folder; what was removed is kept and can be put back."""
    from sam_moe.registry.removal import remove_card

    aside = remove_card(id, folder, ("gate",))
    typer.echo(f"{id}: removed, kept in {aside}")
    typer.echo(f"Undo it: sam-moe gates add {aside}{_in(folder)}", err=True)


@gates.command("add-expert")
def add_expert(
    gate: Gate,
    expert: Expert,
    examples: Annotated[
        Path,
        typer.Option(
            metavar="CASES", help="Its cases, to fit the gate on: a set, or a folder of images/ and labels/."
        ),
    ],
    to: NewId = None,
    regions: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Regions cut from the cases for it, else 96; twice for others."
        ),
    ] = None,
) -> None:
    """Make a new gate that also chooses an expert which is here; the other columns keep every bit."""
    from sam_moe.cli.terminal.progress import ProgressLine
    from sam_moe.registry.finding import find_expert

    with ProgressLine() as progress:
        progress("fitting the gate")
        made, name = grow(find_expert(expert), gate, Growth(examples, to, regions))
    typer.echo(made)
    typer.echo(f"Undo it: sam-moe gates remove {name}", err=True)


@gates.command("remove-expert")
def remove_expert(
    gate: Gate,
    expert: Annotated[str, typer.Argument(metavar="EXPERT", help="Its id; it may be gone already.")],
    to: NewId = None,
) -> None:
    """Make a new gate without an expert; the other columns keep every bit."""
    made, name = leave_out(expert, gate, to)
    typer.echo(made)
    typer.echo(f"Undo it: sam-moe gates remove {name}", err=True)


def _in(folder: Path | None) -> str:
    return f" --folder {folder}" if folder else ""
