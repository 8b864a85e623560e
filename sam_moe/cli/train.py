"""The verbs that train, each by a recipe; what they need is imported when one runs."""

from pathlib import Path
from typing import Annotated

import typer

from sam_moe.cli.options import EVERYWHERE, Changes

training = typer.Typer()

Recipe = Annotated[Path, typer.Argument(metavar="RECIPE.yaml", help="What to train, on what, how long.")]


@training.command(epilog=EVERYWHERE)
def pretrain(
    recipe: Recipe,
    change: Changes = None,
    prepare: Annotated[
        bool,
        typer.Option("--prepare", help="Stop before the training, with all it needs in the run's folder."),
    ] = False,
) -> None:
    """Train a small general model by a recipe.

    Started again on the same folder, it goes on where it stopped. What --prepare has made can be carried to
    a machine with torch, accelerate and safetensors alone, and back again: there,
    `python -m sam_moe.training.bare FOLDER` trains.
    """
    import logging

    from sam_moe.cli.terminal.progress import ProgressLine
    from sam_moe.systems.sam_med3d_moe.recipe import check_recipe

    logging.getLogger("sam_moe.training").setLevel(logging.INFO)
    check_recipe("pretrain", recipe, change or ())
    with ProgressLine() as progress:
        from sam_moe.systems.sam_med3d_moe.pretrain.recipe import pretrain as run

        made = run(recipe, change or (), progress, prepare)
    typer.echo(str(made))


@training.command(epilog=EVERYWHERE)
def finetune(recipe: Recipe, change: Changes = None) -> None:
    """Train an expert by a recipe: a decoder, or deltas on one, for a frozen general model.

    Regions are encoded once and kept in the run's folder; started again on it, the training goes on where it
    stopped. It ends with weights and a card there, for sam-moe experts add, and with what was gained against
    the general model on validation regions.
    """
    import logging

    from sam_moe.cli.terminal.progress import ProgressLine
    from sam_moe.systems.sam_med3d_moe.recipe import check_recipe

    logging.getLogger("sam_moe.training").setLevel(logging.INFO)
    check_recipe("finetune", recipe, change or ())
    with ProgressLine() as progress:
        from sam_moe.systems.sam_med3d_moe.finetune.recipe import finetune as run

        made = run(recipe, change or (), progress)
    _ended(made, f"Use it: sam-moe experts add {made.parent}")


@training.command("train-gate", epilog=EVERYWHERE)
def train_gate(recipe: Recipe, change: Changes = None) -> None:
    """Train the gate over a backbone and its experts, and nothing else of them, by a recipe.

    The experts are asked once; what came of it is kept in the run's folder. Started again on it, the training
    goes on where it stopped. It ends with weights, a card, the curve that the threshold was chosen from,
    and what is gained and lost against the general model alone.
    """
    import logging

    from sam_moe.cli.terminal.progress import ProgressLine
    from sam_moe.systems.sam_med3d_moe.recipe import check_recipe

    logging.getLogger("sam_moe.training").setLevel(logging.INFO)
    check_recipe("train-gate", recipe, change or ())
    with ProgressLine() as progress:
        progress("loading backbone and experts")
        from sam_moe.systems.sam_med3d_moe.train_gate.recipe import train_gate as run

        made = run(recipe, change or (), progress)
    _ended(made, f"Look at {made.parent / 'curve.png'}; use it: --model {made.parent}")


@training.command(epilog=EVERYWHERE)
def train(recipe: Recipe, change: Changes = None) -> None:
    """Train a model without prompts by a recipe that names its paper, phase by phase.

    Each phase is kept in the run's folder; started again on it, the training goes on where it stopped. It
    ends with weights and a card there, and with what it reaches on validation scans, structure by structure.
    """
    import logging

    from sam_moe.assemble.training import check_recipe
    from sam_moe.cli.terminal.progress import ProgressLine

    logging.getLogger("sam_moe.training").setLevel(logging.INFO)
    check_recipe(recipe, change or ())
    with ProgressLine() as progress:
        from sam_moe.assemble.training import follow

        made = follow(recipe, change or (), progress)
    _measured(made)


def _measured(made: Path) -> None:
    """Print where an automatic model's weights are, what it reaches, and how to use it."""
    from sam_moe.registry import CARD, AutomaticCard, read_card
    from sam_moe.training.engine.machines import processes

    if not processes().is_main_process:
        return
    typer.echo(str(made))
    card = read_card(made.parent / CARD)
    assert isinstance(card, AutomaticCard)
    for row in card.measured:
        typer.echo(
            f"{row.metric} {row.value:.3f}  {row.protocol.partition(';')[0]}, {row.data} ({row.cases})"
        )
    typer.echo(f"Use it: sam-moe segment SCAN --model {made.parent} --out LABELS", err=True)


def _ended(made: Path, use: str) -> None:
    """Print where the weights are, what they gained, and how to use them if they gained anything."""
    from sam_moe.config import load_settings
    from sam_moe.registry import CARD, ExpertCard, GateCard, read_card
    from sam_moe.systems.sam_med3d_moe.outcome import of_expert, of_gate
    from sam_moe.systems.sam_med3d_moe.train_gate.settings import GateRecipe
    from sam_moe.training.engine.machines import processes
    from sam_moe.training.recipes.run import RECIPE

    if not processes().is_main_process:
        return
    typer.echo(str(made))
    card = read_card(made.parent / CARD)
    if isinstance(card, GateCard):
        found = of_gate(card, load_settings(GateRecipe, made.parent / RECIPE).most_drop)
    else:
        assert isinstance(card, ExpertCard)
        found = of_expert(card)
    typer.echo(found.text)
    for warning in found.warnings:
        typer.echo(f"sam-moe: warning: {warning}.", err=True)
    if found.recommended:
        typer.echo(use, err=True)
