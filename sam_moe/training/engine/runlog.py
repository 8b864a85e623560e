"""`log.jsonl`, a run's diary: a JSON object a line, without gaps or repetitions whatever kills there were."""

import json
import time
from collections.abc import Callable
from pathlib import Path

from sam_moe.errors import FileError
from sam_moe.files import replace_text, unwritable

LOG = "log.jsonl"

Row = dict[str, float]


class RunLog:
    """Writes rows and passes them on to `report`; a row's `seconds` are the wall clock since the row before.

    Begun at step `start`, it drops what lies behind that step, as those steps come again, and a line that a
    kill cut off. `main` is False in processes that only help; those write nothing. `before` are the seconds
    between the last row that is kept and the stop.
    """

    def __init__(
        self,
        folder: Path,
        start: int,
        steps: int,
        main: bool = True,
        report: Callable[[Row], None] | None = None,
        before: float = 0.0,
    ) -> None:
        self.path, self.steps, self.main, self.report = folder / LOG, steps, main, report
        self.since = time.monotonic() - before
        if main and self.path.is_file():
            kept = [row for row in read_rows(folder) if row["step"] <= start]
            replace_text(self.path, "".join(json.dumps(row) + "\n" for row in kept))

    @property
    def seconds(self) -> float:
        """The wall clock since the last row."""
        return time.monotonic() - self.since

    def write(self, row: Row) -> None:
        """Append a row; `report` gets it with `steps`, the number of steps in all.

        Raises:
            FileError: where it cannot be written.
        """
        if not self.main:
            return
        now = time.monotonic()
        row = {**row, "seconds": round(now - self.since, 2)}
        self.since = now
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise FileError(unwritable(self.path, error)) from error
        if self.report is not None:
            self.report({**row, "steps": self.steps})


def read_rows(folder: Path) -> list[Row]:
    """The rows of a run; a last line that a kill cut off is left out."""
    path = folder / LOG
    lines = path.read_text(encoding="utf-8").split("\n") if path.is_file() else []
    rows: list[Row] = []
    for number, line in enumerate(lines, start=1):
        try:
            rows += [json.loads(line)] if line else []
        except ValueError:
            if number < len(lines):  # only what follows the last line break can be cut off
                raise
    return rows


def hours_of(rows: list[Row], samples_per_step: int) -> float:
    """Wall-clock hours that a run took, pauses between its parts left out.

    A row without `seconds` counts by its rate.
    """
    seconds, before = 0.0, 0.0
    for row in rows:
        if "seconds" in row:
            seconds += row["seconds"]
        elif "samples_per_s" in row:
            seconds += (row["step"] - before) * samples_per_step / row["samples_per_s"]
        before = row["step"]
    return seconds / 3600
