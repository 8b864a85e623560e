"""What both verbs that segment show, and the options for it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sam_moe.cli.options import Writing

if TYPE_CHECKING:
    from sam_moe.predict.files.writing import Written


@dataclass(frozen=True)
class Showing(Writing):
    """How labels are written, and what is shown beside them."""

    overlay: Annotated[
        Path | None,
        typer.Option(metavar="PNG", help="Also draw three planes with outlines, and prompts where given."),
    ] = None
    explain: Annotated[bool, typer.Option("--explain", help="Also say which experts answered, and why.")] = (
        False
    )


def show(done: "Written", showing: Showing) -> None:
    """Print what was found, for a person or a machine; where it was written goes to stderr."""
    if showing.as_json:
        typer.echo(json.dumps(done.as_json()))
        return
    typer.echo(str(done))
    if showing.explain:
        typer.echo(done.answer.explain())
    typer.echo("\n".join(f"{what}: {path}" for what, path in done.files.items()), err=True)
