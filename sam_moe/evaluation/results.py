"""What an evaluation leaves behind: one row an answer, and the folder that holds rows and record.

A result folder has `rows.csv` and `result.json`; beside them `report.html`, `prompts.json`, one file a case
in `cases/`, and masks in `predictions/<system>/` where they were kept.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, ValidationError, field_validator

from sam_moe.config import Record, Settings, explain, read_json
from sam_moe.errors import FileError
from sam_moe.files import make_folder, replace_text, withdraw
from sam_moe.files.cells import shielded, unshielded

Status = Literal[
    "ok",
    "empty",
    "missing",
    "unreadable",
    "wrong_grid",
    "bad_values",
    "unexpected_label",
    "failed",
    "extra",
]
ROWS, RESULT, REPORT, CASES, PREDICTIONS, PROMPTS = (
    "rows.csv",
    "result.json",
    "report.html",
    "cases",
    "predictions",
    "prompts.json",
)

GIVEN = "given"  # what stands for a prompt in rows of masks made elsewhere
AUTOMATIC = "automatic"  # the same in rows of systems that only know the structure's name
UNPROMPTED = (GIVEN, AUTOMATIC)

_Share = Annotated[float, Field(ge=0, le=1)]
_Amount = Annotated[float, Field(ge=0)]
# How the columns of the flattened dictionaries begin, by field.
_FLATTENED = {
    "strata": "stratum.",
    "official": "official.",
    "answered": "answered.",
    "confidence": "confidence.",
}
_NONE = "null"
_MAYBE_UNKNOWN = ("volume_error_ml", "truth_ml", "seconds")


@dataclass(frozen=True)
class Metric:
    """A column that systems are compared by: how it is shown, and which end of it is better."""

    name: str
    title: str
    higher_is_better: bool
    digits: int
    unit: str = ""


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("dice", "Dice", True, 3),
        Metric("nsd", "NSD", True, 3),
        Metric("hd95_mm", "HD95", False, 1, "mm"),
        Metric("vs", "VS", True, 3),
        Metric("volume_error_ml", "volume error", False, 1, "ml"),
    )
}


class Row(Settings):
    """One answer about one structure of one case, and how good it is.

    Where there is no answer to measure, or an empty one, every metric holds its worst value: `hd95_mm` the
    diagonal of the scan, the shares 0, the volume error the whole target. The two volumes are none where
    the label map cannot be read, so that the target is unknown; `n` counts the targets of a mean.
    """

    system: str = Field(description="The system that answered.")
    case: str = Field(description="The case's id in the challenge.")
    patient: str = Field(description="Whose scan it is; cases of one patient are not independent.")
    label: str = Field(description="The structure's name.")
    strata: dict[str, str] = Field({}, description="Groups that the case belongs to, such as modality.")
    prompt: str = Field(
        description="The last prompt: box, click1, box+click3; automatic where there was none; given for "
        "masks from elsewhere."
    )
    step: int = Field(ge=0, description="Place in the protocol, from 0.")
    status: Status = Field(description="ok, or what is wrong with the answer.")
    reason: str = Field("", description="More about it, for a person.")
    dice: _Share
    nsd: _Share
    vs: _Share
    hd95_mm: _Amount
    volume_error_ml: _Amount | None
    truth_ml: _Amount | None
    predicted_ml: _Amount
    official: dict[str, float | None] = Field(
        {}, description="dice, hd95_mm and vs by the challenge's own definitions; none where those have NaN."
    )
    seconds: float | None = Field(None, ge=0, description="Wall-clock seconds of this answer.")
    answered: dict[str, float] = Field({}, description="The experts behind it, with their weights.")
    confidence: dict[str, float] = Field({}, description="How sure the gate was of each expert.")

    @field_validator("strata")
    @classmethod
    def _named(cls, strata: dict[str, str]) -> dict[str, str]:
        """A group without a name is none."""
        return {name: group for name, group in strata.items() if group}

    @property
    def missed(self) -> bool:
        """Whether there was no usable answer, so that the worst values stand in."""
        return self.status != "ok"

    @property
    def counts(self) -> bool:
        """Whether the row belongs to a case; a file that is no case's is listed and nothing more."""
        return self.status != "extra"


def answers_to(prompt: str) -> str:
    """What a table calls the answers to a prompt: "After click5", "Without a prompt", "Masks as given"."""
    return {GIVEN: "Masks as given", AUTOMATIC: "Without a prompt"}.get(prompt, f"After {prompt}")


class Result(Record):
    """All but the rows: challenge, protocol, systems, definitions, circumstances, and the summary."""

    format: Literal[1] = Field(1, description="Version of this record.")
    challenge: dict[str, JsonValue] = Field({}, description="The challenge's whole YAML as it was run.")
    protocol: JsonValue = Field("", description="How it was prompted.")
    definitions: dict[str, str] = Field({}, description="Of each metric its definition, in words.")
    systems: dict[str, dict[str, JsonValue]] = Field(
        {}, description="Of each its id, fingerprint and licence."
    )
    versions: dict[str, str] = Field({}, description="Of the program and of the libraries that matter.")
    hardware: JsonValue = Field("", description="What it ran on.")
    command: JsonValue = Field("", description="The command line, as typed.")
    seconds: float | None = Field(None, ge=0, description="Wall-clock seconds of the whole run.")
    summary: dict[str, JsonValue] = Field({}, description="What `summarise` made of the rows.")
    interactive: dict[str, JsonValue] = Field({}, description="Figures over the clicks.")
    made_from: str = Field("", description="A digest of the cases that it follows from, see `derived`.")
    masks: bool = Field(False, description="Whether each case's last masks were kept beside it.")
    notes: tuple[str, ...] = Field((), description="Remarks for a reader, such as what was left out.")


@dataclass(frozen=True)
class ResultFolder:
    """A result folder that was read."""

    path: Path
    rows: tuple[Row, ...]
    result: Result


def write_rows(path: Path | str, rows: Iterable[Row]) -> None:
    """Write rows as CSV in one step; `read_rows` reads them back equal, to the last bit.

    A key of a dictionary is a column, `stratum.modality`; the cell is empty where a row lacks it, `null`
    where it is none. Text that a spreadsheet would take for a formula has an apostrophe before it.

    Raises:
        FileError: where the file cannot be written.
    """
    flat = [_flattened(row) for row in rows]
    seen = {column: None for cells in flat for column in cells}  # ordered, unlike a set
    columns = [
        column
        for field in Row.model_fields
        for column in (_columns_of(field, seen) if field in _FLATTENED else [field])
    ]
    table = [columns, *([cells.get(column, "") for column in columns] for cells in flat)]
    replace_text(path, "".join(",".join(map(_quoted, line)) + "\n" for line in table))


def read_rows(path: Path | str) -> tuple[Row, ...]:
    """Read what `write_rows` wrote, or the same made by hand: its columns may stand in any order.

    Raises:
        FileError: naming the file, the line and the column.
    """
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:  # spreadsheets write a BOM
            reader = csv.DictReader(file, strict=True)
            if not reader.fieldnames:
                raise FileError(f"{path}: empty. Expected a line with the names of the columns first.")
            return tuple(_row(cells, f"{path}: line {reader.line_num}") for cells in reader)
    except FileNotFoundError as error:
        raise FileError(f"{path}: no such file. Expected the rows that an evaluation wrote.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FileError(f"{path}: not readable as CSV: {error}") from error


def write_result(folder: Path | str, rows: Sequence[Row], result: Result) -> None:
    """Write rows and record into a folder, made where it is missing; an older record and report go first.

    Raises:
        FileError: where they cannot be written.
    """
    folder = Path(folder)
    make_folder(folder)
    for name in (RESULT, REPORT):  # killed here, no record stands beside other rows
        withdraw(folder / name)
    write_rows(folder / ROWS, rows)
    replace_text(folder / RESULT, _indented(result.model_dump(mode="json")) + "\n")


def read_result(folder: Path | str) -> ResultFolder:
    """Read a result folder.

    Raises:
        FileError: for a folder without rows or record, or with some that are malformed.
    """
    folder = Path(folder)
    if not (folder / ROWS).is_file():
        raise FileError(
            f"{folder}: no result folder: it has no {ROWS}. Give the folder that sam-moe evaluate wrote to."
        )
    return ResultFolder(folder, read_rows(folder / ROWS), read_json(Result, folder / RESULT, FileError))


def _indented(value: Any, margin: str = "") -> str:
    """Strict JSON in which an object of plain values is one line, so that a figure is a line of a diff."""
    if not isinstance(value, dict) or not any(isinstance(inner, dict) for inner in value.values()):
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    inner = f"{margin}  "
    lines = (
        f"{inner}{json.dumps(key, ensure_ascii=False)}: {_indented(own, inner)}" for key, own in value.items()
    )
    return "{\n" + ",\n".join(lines) + f"\n{margin}}}"


def _columns_of(field: str, seen: Iterable[str]) -> list[str]:
    return [column for column in seen if column.startswith(_FLATTENED[field])]


def _quoted(cell: str) -> str:
    """RFC 4180; `csv` leaves a lone carriage return bare where lines end with a newline."""
    return '"' + cell.replace('"', '""') + '"' if any(letter in cell for letter in ',"\r\n') else cell


def _flattened(row: Row) -> dict[str, str]:
    return dict(_cells(row))


def _cells(row: Row) -> Iterator[tuple[str, str]]:
    for field in Row.model_fields:
        value = getattr(row, field)
        if field in _FLATTENED:
            for key, inner in value.items():
                yield _FLATTENED[field] + key, _NONE if inner is None else _text(inner)
        else:
            yield field, "" if value is None else _text(value)


def _text(value: str | float) -> str:
    if isinstance(value, str):
        return shielded(value)
    return repr(value)  # the shortest that reads back the same


def _row(cells: Mapping[str | None, Any], where: str) -> Row:
    data: dict[str, Any] = {field: {} for field in _FLATTENED}
    if None in cells:
        raise FileError(f"{where}: more cells than the first line has columns.")
    for column, cell in cells.items():
        if cell is None:
            raise FileError(f"{where}: fewer cells than the first line has columns; was the file cut short?")
        field = next((name for name, start in _FLATTENED.items() if str(column).startswith(start)), None)
        if field is not None:
            if cell:
                key = str(column).removeprefix(_FLATTENED[field])
                data[field][key] = None if cell == _NONE and field != "strata" else unshielded(cell)
        elif not cell and column in _MAYBE_UNKNOWN:
            data[str(column)] = None
        else:
            data[str(column)] = unshielded(cell)
    try:
        return Row.model_validate(data)
    except ValidationError as error:
        raise FileError(explain(error, Row, where)) from error
