"""Rows of scans, kept one by one: whatever kills there are, a finished one is not lost."""

import json
import os
from pathlib import Path

from benchmarks.mixture.m4oe.scans import Seen
from sam_moe.files import make_folder, replace_text, withdraw


class Rows:
    """A file of a JSON object a line, one a model and scan; a last line that a kill cut off is dropped.

    Where two starts at once kept the same scan, the later row stands.

    Args:
        path: where it lies or will lie.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: dict[tuple[str, str, str], Seen] = {}
        text = path.read_text("utf-8") if path.is_file() else ""
        whole, _, cut = text.rpartition("\n")
        for line in whole.splitlines():
            self._put(Seen.of_json(json.loads(line)))
        if cut:
            replace_text(path, whole + "\n" if whole else "")

    @property
    def rows(self) -> list[Seen]:
        """All rows, in the order in which they came."""
        return list(self._rows.values())

    def _put(self, row: Seen) -> None:
        self._rows[row.model, row.sha256, row.scan] = row

    def of(self, model: str, sha256: str) -> list[Seen]:
        """The rows of a model's very weights, the scans of each set together, by name."""
        own = [row for row in self.rows if (row.model, row.sha256) == (model, sha256)]
        return sorted(own, key=lambda row: (row.own == "", row.own, row.scan))

    def add(self, row: Seen) -> None:
        """Keep a row, on the disk when this returns."""
        make_folder(self.path.parent)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row.as_json()) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._put(row)

    def move(self, path: Path) -> None:
        """Write all rows to another file, in one step, and begin anew here."""
        ordered = sorted(self.rows, key=lambda row: (row.model, row.own == "", row.own, row.scan))
        replace_text(path, "".join(json.dumps(row.as_json()) + "\n" for row in ordered))
        withdraw(self.path)
