"""Who answers what: a mixture is asked about many cases, and every choice is written down."""

import csv
import io
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sam_moe.errors import ConfigError, SamMoeError
from sam_moe.evaluation.routing.labelled import Case, Question
from sam_moe.files import in_words, replace_text, withdraw
from sam_moe.files.cells import shielded
from sam_moe.predict.model import Model
from sam_moe.predict.predictor import Predictor
from sam_moe.progress import Progress

log = logging.getLogger(__name__)

TABLE, RECORD, PICTURE = "routing.csv", "routing.json", "routing.png"


@dataclass(frozen=True)
class Route:
    """One prompt and who answered it; `error` instead where it could not be asked."""

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

    def shares(self) -> dict[str, dict[str, float]]:
        """For each structure how much of its prompts each expert answered; shares of a structure sum to 1."""
        found: dict[str, dict[str, float]] = {}
        for route in self.routes:
            if not route.error:
                row = found.setdefault(route.structure, dict.fromkeys(self.ids, 0.0))
                for name, weight in route.experts.items():
                    row[name] += weight
        return {
            name: {id: weight / sum(row.values()) for id, weight in row.items()}
            for name, row in sorted(found.items())
        }

    def count(self, structure: str) -> int:
        """How many prompts about a structure were answered."""
        return sum(route.structure == structure and not route.error for route in self.routes)

    def __str__(self) -> str:
        width = max(len(name) for name in self.shares())
        lines = []
        for name, row in self.shares().items():
            by = sorted(((share, id) for id, share in row.items() if share > 0), reverse=True)
            told = ", ".join(f"{id} {share:.0%}" for share, id in by)
            lines.append(f"{name:<{width}}  {self.count(name):>4}  {told}")
        failed = [route for route in self.routes if route.error]
        if failed:
            lines.append(f"not asked: {len(failed)}; the first, {failed[0].case}: {failed[0].error}")
        return "\n".join(lines)


def route(model: Model, cases: Sequence[Case], progress: Progress) -> Routes:
    """Ask a mixture everything about these cases.

    Raises:
        ConfigError: for a model that chooses among nobody.
        SamMoeError: where nothing at all could be asked, for the first reason.
    """
    found: list[Route] = []
    first: SamMoeError | None = None
    for number, case in enumerate(cases):
        progress(f"asking about case {number + 1} of {len(cases)}", number / len(cases))
        try:
            predictor = model.open(case.scan)
            for question in case.questions(predictor.scan):
                found.append(_asked(predictor, case, question))
        except ConfigError:
            raise
        except SamMoeError as error:  # the scan or the labels: a row of the report, the others go on
            first = first or error
            found.append(Route(case.name, "", "", error=str(error)))
        except Exception as error:  # damaged files raise whatever they spell
            log.debug("%s cannot be read", case.name, exc_info=True)
            found.append(Route(case.name, "", "", error=f"{type(error).__name__}: {in_words(error)}"))
    answered = [route for route in found if not route.error]
    if not answered:
        reason = found[0].error if found else "the cases have no prompts"
        raise first or ConfigError(f"nothing could be asked: {reason}")
    return Routes(model.id, tuple(answered[0].confidence), tuple(found))


def write(found: Routes, folder: Path) -> dict[str, str]:
    """Write table, record and picture; returns where they are.

    Raises:
        FileError: where they cannot be written.
    """
    from sam_moe.evaluation.routing.picture import draw

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
    draw(found, folder / PICTURE)
    return {name.partition(".")[2]: str(folder / name) for name in (TABLE, RECORD, PICTURE)}


def withdraw_old(folder: Path) -> None:
    """Remove an older run's table, record and picture: killed meanwhile, none stands beside new ones.

    Raises:
        FileError: where they cannot be removed.
    """
    for name in (TABLE, RECORD, PICTURE):
        withdraw(folder / name)


def _asked(predictor: Predictor, case: Case, question: Question) -> Route:
    said = (case.name, question.structure, question.kind)
    try:
        prediction = predictor.predict(*question.prompt)
    except SamMoeError as error:
        return Route(*said, error=str(error))
    who = prediction.answered
    if who is None:
        raise ConfigError(
            f"{predictor.model_id} is a model alone and chooses among nobody. Give a gate's id or folder."
        )
    dice = None if question.truth is None else round(prediction.dice(question.truth), 4)
    regions = sum(who.regions.values())
    return Route(*said, who.experts, who.confidence, who.why, regions, prediction.voxels, dice)


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
