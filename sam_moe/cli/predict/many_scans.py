"""`sam-moe predict` on many scans: a line for each on stdout, what failed on stderr at the end."""

import json
from collections.abc import Sequence
from pathlib import Path

import typer

from sam_moe.cli.predict.typed_prompts import COMMAND_LINE
from sam_moe.cli.progress import ProgressLine
from sam_moe.processes import rank


def segment_many(
    scans: Path,
    prompts: Path,
    out: Path,
    model: str | None,
    device: str,
    box_strategy: str | None,
    dtype: str,
    *,
    lower: Sequence[str] = (),
    force: bool = False,
    as_json: bool,
) -> None:
    """Run, print and leave with exit code 1 where a scan failed.

    Of several processes the first one tells, and fails, for all: a launcher ends the others when one fails.
    """
    with ProgressLine(quiet=as_json) as progress:
        from sam_moe.cli.predict.loading import loaded
        from sam_moe.predict.files.many import CaseReport, requests, run_many

        def say(case: CaseReport) -> None:
            if case.state == "done" and not as_json:
                typer.echo(f"{case.mask}: {case.text}")

        asked = requests(scans, prompts, out, ("sam-moe", *COMMAND_LINE.get()), force=force)
        report = run_many(asked, lambda: loaded(model, device, box_strategy, dtype, lower), progress, say)
    if rank() != 0:
        return
    typer.echo(json.dumps(report.as_json()) if as_json else str(report))
    for case in report.failed:
        typer.echo(f"sam-moe: failed: {case.image}: {case.text}", err=True)
    if report.failed:
        raise typer.Exit(1)
