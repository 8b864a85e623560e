"""`sam-moe train-gate`, and what `experts add --gate` does; what they need is imported when one runs."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sam_moe.registry import Entry, ExpertCard

gates = typer.Typer()


@gates.command("train-gate")
def train_gate(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.yaml", help="Which experts, on what, how long.")],
    change: Annotated[
        list[str] | None, typer.Option("--set", metavar="A.B=C", help="Override a setting. Repeatable.")
    ] = None,
) -> None:
    """Train the gate over a backbone and its experts, and nothing else of them, by a recipe.

    The experts are asked once; what came of it is kept in the run's folder. Started again on it, the training
    goes on where it stopped. It ends with weights, a card and the curve that the threshold was chosen from.
    """
    import logging

    from sam_moe.cli.progress import Progress

    logging.getLogger("sam_moe.training").setLevel(logging.INFO)
    with Progress() as tell:
        tell("loading backbone and experts")
        from sam_moe.training.gate_recipes import train_gate as run

        made = run(recipe, change or (), tell)
    typer.echo(str(made))
    typer.echo(f"Look at {made.parent / 'curve.png'}; use it: --model {made.parent}", err=True)


def grow(
    entry: "Entry[ExpertCard]",
    gate: str,
    examples: Path,
    to: str | None,
    undo: Callable[[], object],
) -> str:
    """Give a gate a column for an expert just added, or take the expert out again; says what came of it."""
    from sam_moe.errors import SamMoeError
    from sam_moe.training.column import find_gate, grow_gate

    try:
        grown, folder = grow_gate(find_gate(gate), entry, examples, to)
    except SamMoeError:
        undo()
        raise
    return f"{folder}: a gate over {grown.gate.experts} experts, {entry.card.id} the last; {grown}"
