"""`sam-moe predict`: one scan and its prompts, or a folder of scans and a file of prompts."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sam_moe.cli.options import COMMAND_LINE, EVERYWHERE, Computing, ModelId, UsageError
from sam_moe.cli.predict.prompt_options import PromptOptions, in_options
from sam_moe.cli.predict.showing import Showing, show
from sam_moe.cli.predict.typed_prompts import PromptCommand
from sam_moe.cli.records import takes_records

if TYPE_CHECKING:
    from sam_moe.predict.files.prompted import LoadedModel

prediction = typer.Typer()


@prediction.command(cls=PromptCommand, epilog=EVERYWHERE)
@takes_records(
    "scan out point negative box flat_box stroke negative_stroke loop negative_loop mm prompts model overlay "
    "device box_strategy lower dtype explain force as_json"
)
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
    prompt: PromptOptions,
    computing: Computing,
    showing: Showing,
    model: ModelId = None,
) -> None:
    """Segment what points, boxes, strokes and loops show.

    For example: sam-moe predict scan.nii.gz --point 40 52 17 --out liver.nii.gz

    The mask has the scan's own grid. Prompts count in the order in which they are typed. Beside the mask,
    <mask>.run.json says what ran; --prompts <mask>.run.json asks the same again.

    Many scans: sam-moe predict SCANS --prompts FILE --out FOLDER segments every case of the file. What was
    finished before is not done again, what fails is listed at the end. Several processes share the work when
    torchrun or accelerate launch starts them: torchrun --nproc_per_node 2 -m sam_moe predict ...
    """
    from sam_moe.cli.terminal.progress import ProgressLine
    from sam_moe.errors import PromptError
    from sam_moe.ownership import is_folder

    def load() -> "LoadedModel":
        from sam_moe.cli.predict.loading import loaded

        return loaded(model, computing)

    typed, file = prompt.typed(), prompt.prompts
    command = ("sam-moe", *COMMAND_LINE.get())
    if file is not None and is_folder(scan) and (is_folder(out) or not out.suffix):
        if showing.overlay is not None:
            raise UsageError("--overlay draws one scan. Leave it out, or give one scan and one mask")
        from sam_moe.cli.predict.many_scans import segment_many
        from sam_moe.predict.files.scans import prompted

        return segment_many(lambda: prompted(scan, file, out, command, force=showing.force), load, showing)
    with ProgressLine(quiet=showing.as_json) as progress:
        from sam_moe.predict.files.command import run
        from sam_moe.predict.files.prompted import PromptedRequest

        request = PromptedRequest(
            scan, out, showing.overlay, command, showing.force, prompt=typed, prompts_file=file
        )
        try:
            done = run(request, load, progress)
        except PromptError as error:
            raise PromptError(in_options(str(error))) from error
    show(done, showing)
