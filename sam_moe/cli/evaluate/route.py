"""`sam-moe experts route`: the experts that answer each structure, as table, JSON and picture."""

import json
from pathlib import Path
from typing import Annotated

import typer

from sam_moe.cli.options import Device, Writing
from sam_moe.cli.records import takes_records


@takes_records("cases model out first seed device force as_json")
def route(
    cases: Annotated[
        Path,
        typer.Argument(
            metavar="CASES",
            help="A prompt set; or a folder with a dataset.json, or with images/ and labels/.",
        ),
    ],
    model: Annotated[str, typer.Option(metavar="GATE", help="Id, card or folder of the mixture's gate.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where to write; made if missing.")],
    writing: Writing,
    first: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only the first N cases; else all.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the boxes that are drawn around labels.")] = 0,
    device: Device = "auto",
) -> None:
    """Show which experts answer: run a mixture on many cases.

    Of a data folder each labelled structure is prompted as in an evaluation: by a click on its deepest voxel
    and by a box whose sides are moved by up to 5 %. Writes routing.csv with a row a prompt, routing.json, and
    routing.png: structures by experts.
    """
    from sam_moe.cli.terminal.progress import ProgressLine

    with ProgressLine(quiet=writing.as_json) as progress:
        from sam_moe.cli.own_files import ROUTES
        from sam_moe.errors import CardError
        from sam_moe.evaluation.asking.systems import ask_models
        from sam_moe.evaluation.routing.record import withdraw_old, write
        from sam_moe.evaluation.routing.routes import cases_in
        from sam_moe.evaluation.routing.routes import route as run
        from sam_moe.files import check_writable, make_folder, sweep
        from sam_moe.ownership import check_folder
        from sam_moe.processes import share_threads
        from sam_moe.registry.finding import NAMES, find_model

        entry = find_model(model)
        if entry.card.kind != "gate":
            raise CardError(
                f"{entry.card.id} is {NAMES[entry.card.kind]}. Expected a gate; see sam-moe gates."
            )
        check_folder(out, ROUTES, [cases], force=writing.force)
        chosen = cases_in(cases)[:first]
        make_folder(out)
        check_writable(out)  # before the work, not after it
        sweep(out)
        progress("loading the model")
        share_threads()
        (system,) = ask_models([str(entry.path)], device)
        withdraw_old(out)
        found = run(system, chosen, progress, seed)
        progress("writing")
        files = write(found, out)
    if writing.as_json:
        typer.echo(json.dumps({"files": files, "model": found.model, "shares": found.shares()}))
        return
    typer.echo(str(found))
    typer.echo("\n".join(f"{what}: {path}" for what, path in files.items()), err=True)
