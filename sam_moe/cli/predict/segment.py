"""`sam-moe segment`: the structures of one scan or of many, without a prompt."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sam_moe.cli.options import COMMAND_LINE, EVERYWHERE, Device, UsageError
from sam_moe.cli.predict.showing import Showing, show
from sam_moe.cli.records import takes_records

if TYPE_CHECKING:
    from sam_moe.predict.files.automatic import LoadedAutomaticModel

segmentation = typer.Typer()


@segmentation.command(epilog=EVERYWHERE)
@takes_records("scans out model as_set then then_model overlay device explain force as_json")
def segment(
    scans: Annotated[
        list[Path],
        typer.Argument(
            help="NIfTI, NRRD, MHA, or a folder of DICOM; or several of them, or a folder of scans.",
            metavar="SCAN",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="Labels to write: .nii.gz, .nii, .nrrd or .mha; for many scans a folder.", metavar="LABELS"
        ),
    ],
    showing: Showing,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Id, card or folder of an automatic model; see sam-moe checkpoints. Else the small one.",
        ),
    ] = None,
    as_set: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="SET",
            help="Take the scan for this data set of the model; an unknown one is answered with the known "
            "ones. Else for the one that it is most like.",
        ),
    ] = None,
    then: Annotated[
        bool,
        typer.Option(
            "--then",
            help="Then let a promptable model answer the boxes of the masks that it answers better, as the "
            "card says; the others stay.",
        ),
    ] = False,
    then_model: Annotated[
        str | None, typer.Option(metavar="ID", help="That promptable model. Else small-moe.")
    ] = None,
    device: Device = "auto",
) -> None:
    """Segment what a model knows, without a prompt.

    For example: sam-moe segment scan.nii.gz --out labels.nii.gz

    The labels have the scan's own grid. Beside them, <labels>.labels.json names their values and
    <labels>.run.json says what ran, what the scan was taken for, and who answered. A structure that is not
    found is named. With --then it also says, for each structure, whose mask it is and what changed.

    Many scans: sam-moe segment SCANS --out FOLDER segments every scan of a folder and of its subfolders. What
    was finished before is not done again, what fails is listed at the end. Several processes share the work
    when torchrun or accelerate launch starts them: torchrun --nproc_per_node 2 -m sam_moe segment ...
    """
    if then_model is not None and not then:
        raise UsageError("--then-model is of --then. Give both, or leave it out")
    from sam_moe.cli.predict.loading import find_automatic, find_then, loaded_automatic
    from sam_moe.cli.terminal.progress import ProgressLine
    from sam_moe.ownership import is_folder

    entry = find_automatic(model, as_set)
    after = find_then(then_model) if then else None

    def load() -> "LoadedAutomaticModel":
        return loaded_automatic(entry, device, after)

    command = ("sam-moe", *COMMAND_LINE.get())
    if len(scans) > 1 or is_folder(out) or (is_folder(scans[0]) and not out.suffix):
        if showing.overlay is not None:
            raise UsageError(
                "--overlay draws one scan. Leave it out, or give one scan and one file of labels"
            )
        if len(scans) > 1 and out.suffix and not is_folder(out):
            raise UsageError(f"{len(scans)} scans do not fit into {out}. Give a folder as --out")
        from sam_moe.cli.predict.many_scans import segment_many
        from sam_moe.predict.files.scans import automatic

        return segment_many(
            lambda: automatic(scans, out, as_set, command, force=showing.force), load, showing
        )
    with ProgressLine(quiet=showing.as_json) as progress:
        from sam_moe.predict.files.automatic import AutomaticRequest
        from sam_moe.predict.files.command import run

        request = AutomaticRequest(scans[0], out, showing.overlay, command, showing.force, as_set=as_set)
        done = run(request, load, progress)
    show(done, showing)
