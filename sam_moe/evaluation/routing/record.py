"""The record of a gate's choices: a row a prompt, as table, as JSON and as a picture."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sam_moe.evaluation.routing.picture import as_png, draw
from sam_moe.evaluation.routing.shares import Shares, count
from sam_moe.files import replace_bytes, replace_text, withdraw
from sam_moe.files.cells import shielded

TABLE, RECORD, PICTURE = "routing.csv", "routing.json", "routing.png"


@dataclass(frozen=True)
class Route:
    """One prompt and its routing: weights, confidences, reason; `error` where there was no answer.

    `regions` counts the regions that were decoded, `voxels` those of the mask; `dice` where labels are known.
    """

    case: str
    structure: str
    prompt: str
    experts: Mapping[str, float] = field(default_factory=dict)
    confidence: Mapping[str, float] = field(default_factory=dict)
    why: str = ""
    regions: int = 0
    voxels: int | None = None
    dice: float | None = None
    error: str = ""


@dataclass(frozen=True)
class Routes:
    """All routes of a run; `ids` are the experts in the gate's order, the general one first."""

    model: str
    ids: tuple[str, ...]
    routes: tuple[Route, ...]

    def counted(self) -> Shares:
        """Structures by experts."""
        answers = ((one.structure, one.experts, one.confidence) for one in self.routes if not one.error)
        found = count(answers, self.ids)
        assert found is not None, "a route without an error has its experts"
        return found

    def shares(self) -> dict[str, dict[str, float]]:
        """For each structure, by name, the share of its answers that each expert gave; they sum to 1."""
        by_name = {one.structure: one.shares for one in self.counted().structures}
        return {name: {id: by_name[name].get(id, 0.0) for id in self.ids} for name in sorted(by_name)}

    def __str__(self) -> str:
        shares, counted = self.shares(), {one.structure: one.answers for one in self.counted().structures}
        width = max(len(name) for name in shares)
        lines = []
        for name, row in shares.items():
            experts = sorted(((share, id) for id, share in row.items() if share > 0), reverse=True)
            words = ", ".join(f"{id} {share:.0%}" for share, id in experts)
            lines.append(f"{name:<{width}}  {counted[name]:>4}  {words}")
        failed = [route for route in self.routes if route.error]
        if failed:
            lines.append(f"no answer: {len(failed)}; the first, {failed[0].case}: {failed[0].error}")
        return "\n".join(lines)


def write(found: Routes, folder: Path) -> dict[str, str]:
    """Write table, record and picture; returns where they are.

    Raises:
        FileError: where they cannot be written.
    """
    table = io.StringIO()
    confidences = [f"confidence {id}" for id in found.ids]
    columns = ["case", "structure", "prompt", "answered", *confidences, "why"]
    columns += ["regions", "voxels", "dice", "error"]
    rows = csv.DictWriter(table, columns, lineterminator="\n")
    rows.writeheader()
    for one in found.routes:
        cells = _cells(one, found.ids)
        rows.writerow({k: shielded(cell) if isinstance(cell, str) else cell for k, cell in cells.items()})
    record: dict[str, Any] = {
        "model": found.model,
        "experts": list(found.ids),
        "shares": found.shares(),
        "routes": [asdict(one) for one in found.routes],
    }
    withdraw_old(folder)
    replace_text(folder / TABLE, table.getvalue())
    replace_text(folder / RECORD, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    title = f"share of the answers (left), mean confidence (right); {found.model}"
    replace_bytes(folder / PICTURE, as_png(draw(found.counted(), title)))
    return {name.partition(".")[2]: str(folder / name) for name in (TABLE, RECORD, PICTURE)}


def withdraw_old(folder: Path) -> None:
    """Remove an older run's table, record and picture: killed meanwhile, none stands beside new ones.

    Raises:
        FileError: where they cannot be removed.
    """
    for name in (TABLE, RECORD, PICTURE):
        withdraw(folder / name)


def _cells(one: Route, ids: Sequence[str]) -> dict[str, object]:
    return {
        "case": one.case,
        "structure": one.structure,
        "prompt": one.prompt,
        "answered": " + ".join(one.experts),
        **{f"confidence {id}": f"{one.confidence[id]:.4f}" for id in ids if id in one.confidence},
        "why": one.why,
        "regions": one.regions,
        "voxels": one.voxels,
        "dice": one.dice,
        "error": one.error,
    }
