"""The verbs and their options; each verb imports what it needs only when it runs."""

import json
from pathlib import Path
from typing import Annotated

import typer

from sam_moe import __version__
from sam_moe.cli.evaluate.compare import comparing
from sam_moe.cli.evaluate.evaluate import evaluation
from sam_moe.cli.models.experts import experts
from sam_moe.cli.predict.prompt_options import (
    Boxes,
    FlatBoxes,
    Loops,
    Lower,
    NegativeLoops,
    NegativePoints,
    NegativeStrokes,
    Points,
    Strokes,
    in_options,
    prompt_of,
)
from sam_moe.cli.predict.typed_prompts import (
    COMMAND_LINE,
    EVERYWHERE,
    AsJson,
    AskedWrongly,
    Force,
    ListedByDefault,
    PromptCommand,
    in_order,
)
from sam_moe.cli.train import training

# Plain help: drawing it with rich would cost more than everything else that --help does.
app = typer.Typer(
    help="Promptable 3D segmentation: point at it, get it.", rich_markup_mode=None, epilog=EVERYWHERE
)
checkpoints = typer.Typer(cls=ListedByDefault, help="List the models, or show one.")
app.add_typer(checkpoints, name="checkpoints")
app.add_typer(experts, name="experts")
app.add_typer(training)
app.add_typer(evaluation)
app.add_typer(comparing)

Model = Annotated[
    str | None,
    typer.Option(
        metavar="ID",
        help="Id, card or folder of a model; see sam-moe checkpoints. Else the small one that ships.",
    ),
]


def _version(asked: bool) -> bool:
    if asked:
        typer.echo(f"sam-moe {__version__}")
        raise typer.Exit
    return asked


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Promptable 3D segmentation: point at it, get it."""


@app.command(cls=PromptCommand, epilog=EVERYWHERE)
def predict(
    scan: Annotated[
        Path,
        typer.Argument(
            help="NIfTI, NRRD, MHA, or a folder of DICOM. With --prompts also a folder of many scans.",
            metavar="SCAN",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="Mask to write: .nii.gz, .nii, .nrrd or .mha; for many scans a folder.", metavar="MASK"
        ),
    ],
    point: Points = None,
    negative: NegativePoints = None,
    box: Boxes = None,
    flat_box: FlatBoxes = None,
    stroke: Strokes = None,
    negative_stroke: NegativeStrokes = None,
    loop: Loops = None,
    negative_loop: NegativeLoops = None,
    mm: Annotated[
        bool, typer.Option("--mm", help="Numbers are RAS+ millimetres, not voxel indices of the stored axes.")
    ] = False,
    prompts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Prompts of one or several targets, from a prompt set or a .run.json."
        ),
    ] = None,
    model: Model = None,
    overlay: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Also draw three planes with prompts and outlines.")
    ] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Where to compute.")] = "auto",
    box_strategy: Annotated[
        str | None, typer.Option(metavar="NAME", help="How a box reaches the model: center, mask or corners.")
    ] = None,
    lower: Lower = None,
    dtype: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Of the encoder: float32, or bfloat16, quicker only where the machine has units for it.",
        ),
    ] = "float32",
    explain: Annotated[
        bool, typer.Option("--explain", help="Also say which experts of a mixture answered, and why.")
    ] = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Segment what points, boxes, strokes and loops show.

    For example: sam-moe predict scan.nii.gz --point 40 52 17 --out liver.nii.gz

    The mask has the scan's own grid. Prompts count in the order in which they are typed. Beside the mask,
    <mask>.run.json says what ran; --prompts <mask>.run.json asks the same again.

    Many scans: sam-moe predict SCANS --prompts FILE --out FOLDER segments every case of the file. What was
    finished before is not done again, what fails is listed at the end. Several processes share the work when
    torchrun or accelerate launch starts them: torchrun --nproc_per_node 2 -m sam_moe predict ...
    """
    from sam_moe.cli.progress import ProgressLine
    from sam_moe.errors import PromptError
    from sam_moe.ownership import is_folder

    lines = {
        "stroke": stroke,
        "negative-stroke": negative_stroke,
        "loop": loop,
        "negative-loop": negative_loop,
    }
    typed = in_order({"point": point, "negative": negative, "box": box, "flat-box": flat_box, **lines})
    if bool(typed) == (prompts is not None):
        both = "both --prompts and points or boxes" if typed else "no prompt"
        raise AskedWrongly(
            f"{both}. Show the target with --point I J K or --box I0 J0 K0 I1 J1 K1, or give --prompts FILE"
        )
    if prompts is not None and is_folder(scan) and (is_folder(out) or not out.suffix):
        if overlay is not None:
            raise AskedWrongly("--overlay draws one scan. Leave it out, or give one scan and one mask")
        from sam_moe.cli.predict.many_scans import segment_many

        return segment_many(
            scan,
            prompts,
            out,
            model,
            device,
            box_strategy,
            dtype,
            lower=lower or (),
            force=force,
            as_json=as_json,
        )
    prompt = prompt_of(typed, mm) if typed else None
    with ProgressLine(quiet=as_json) as progress:
        from sam_moe.cli.predict.loading import loaded
        from sam_moe.predict.files.command import Request, run

        request = Request(scan, out, prompt, prompts, overlay, ("sam-moe", *COMMAND_LINE.get()), force=force)
        try:
            done = run(request, lambda: loaded(model, device, box_strategy, dtype, lower or ()), progress)
        except PromptError as error:
            raise PromptError(in_options(str(error))) from error
    typer.echo(json.dumps(done.as_json()) if as_json else str(done))
    if explain and not as_json:
        typer.echo(done.explain())
    if not as_json:
        typer.echo("\n".join(f"{what}: {path}" for what, path in done.files.items()), err=True)


@app.command(epilog=EVERYWHERE)
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
    from sam_moe.cli.progress import ProgressLine

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


@checkpoints.command("list")
def list_checkpoints(as_json: AsJson = False) -> None:
    """List the models, and whether their weights are here."""
    from sam_moe.cli.models.checkpoint_pages import listed, table

    found = listed()
    typer.echo(json.dumps([item.as_json() for item in found]) if as_json else table(found))


@checkpoints.command("show")
def show_checkpoint(
    id: Annotated[str, typer.Argument(metavar="ID", help="As in the list.")], as_json: AsJson = False
) -> None:
    """Show all that a model's card says."""
    from sam_moe.cli.models.checkpoint_pages import find, page

    item = find(id)
    typer.echo(item.entry.card.model_dump_json(indent=2) if as_json else page(item))


@app.command(epilog=EVERYWHERE)
def doctor(as_json: AsJson = False) -> None:
    """Tell what is here and what would be used."""
    from sam_moe.cli.progress import ProgressLine

    with ProgressLine(quiet=as_json):
        from sam_moe.cli.examination import examine

        found = examine()
    typer.echo(json.dumps(found.as_json()) if as_json else str(found))
    if not found.usable:
        raise typer.Exit(1)


@app.command(epilog=EVERYWHERE)
def demo(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where to write; made if missing.")] = Path(
        "sam-moe-demo"
    ),
    model: Model = None,
    force: Force = False,
) -> None:
    """Segment the real scans that ship, MR and CT.

    From a point and from a box each, held against their labels; writes the masks and pictures.
    """
    from sam_moe.cli.progress import ProgressLine

    with ProgressLine() as progress:
        from sam_moe.cli.demonstration import run
        from sam_moe.cli.predict.loading import loaded

        report = run(out, lambda: loaded(model, "auto", None).model, progress, force=force)
    typer.echo(report)
