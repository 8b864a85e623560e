"""Many scans in one command: a line for each on stdout, what failed on stderr at the end."""

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import typer

from sam_moe.cli.options import Writing
from sam_moe.cli.terminal.progress import ProgressLine
from sam_moe.processes import rank

if TYPE_CHECKING:
    from sam_moe.predict.files.command import Segmenter
    from sam_moe.predict.files.request import Asked


def segment_many(
    wanted: "Callable[[], Sequence[Asked]]", load: "Callable[[], Segmenter[Asked]]", writing: Writing
) -> None:
    """Find what is wanted, run, print, and leave with exit code 1 where a scan failed.

    Of several processes the first one reports, and fails, for all: a launcher ends the others when one fails.
    """
    with ProgressLine(quiet=writing.as_json) as progress:
        from sam_moe.predict.files.many import CaseReport, run_many

        def report_case(case: CaseReport) -> None:
            if case.state == "done" and not writing.as_json:
                typer.echo(f"{case.mask}: {case.text}")

        report = run_many(wanted(), load, progress, report_case)
    if rank() != 0:
        return
    typer.echo(json.dumps(report.as_json()) if writing.as_json else str(report))
    for case in report.failed:
        typer.echo(f"sam-moe: failed: {case.image}: {case.text}", err=True)
    if report.failed:
        raise typer.Exit(1)
