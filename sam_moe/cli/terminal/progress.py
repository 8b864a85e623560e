"""What is going on, on stderr: live on a terminal, else one line for each stage that takes over a second."""

import logging
import sys
import threading
from types import TracebackType

import typer

_PATIENCE_S = 1.0


class ProgressLine:
    """Shows the current stage until it is left; called with its name and, where known, its share done."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._stage = ""
        self._live = None if quiet or not sys.stderr.isatty() else _Live("starting")
        self._timer: threading.Timer | None = None

    def __call__(self, stage: str, share: float = 0.0) -> None:
        """Show that a stage began, or its share done."""
        if self._live is not None:
            self._live.show(stage, share)
        elif stage != self._stage and not self._quiet:
            self._stop_timer()
            self._timer = threading.Timer(_PATIENCE_S, typer.echo, [f"{stage} …"], {"err": True})
            self._timer.daemon = True
            self._timer.start()
        self._stage = stage

    def __enter__(self) -> "ProgressLine":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_timer()
        if self._live is not None:
            self._live.stop()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


class _Live:
    """A spinner with the stage and its seconds, gone when done."""

    def __init__(self, stage: str) -> None:
        from rich.console import Console
        from rich.progress import Progress as Bars
        from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        self._bars = Bars(*columns, console=Console(stderr=True), transient=True)
        self._bars.start()
        self._stage = stage
        self._task = self._bars.add_task(stage)

    def show(self, stage: str, share: float) -> None:
        if stage != self._stage:
            self._bars.reset(self._task, description=stage)
            self._stage = stage
        percent = f" {share:.0%}" if share else ""
        self._bars.update(self._task, description=f"{stage}{percent}")

    def stop(self) -> None:
        self._bars.stop()


class Remarks(logging.Handler):
    """What the library logs, as lines on stderr, above the spinner where there is one; none of them twice."""

    def __init__(self) -> None:
        super().__init__()
        self._shown: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, whatever line breaks the message has; a header is read more than once."""
        text = " ".join(record.getMessage().split())
        if text in self._shown:
            return
        self._shown.add(text)
        kind = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        typer.echo(f"sam-moe: {kind}{text}", err=True)
