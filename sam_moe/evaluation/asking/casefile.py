"""One finished case in one file, written whole, so that an interrupted evaluation can go on."""

import json
import os
from hashlib import sha256
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Literal
from urllib.parse import quote

from pydantic import Field, JsonValue

from sam_moe.config import Record, read_json
from sam_moe.errors import ConfigError, FileError
from sam_moe.evaluation.results import CASES, Row
from sam_moe.files import make_folder, replace_text
from sam_moe.prompts.promptset import PromptCase

SETUP = "asked.json"
_LONGEST_NAME = 180  # with what comes before and behind it below the 255 bytes of file systems


class CaseFile(Record):
    """All answers about one case."""

    format: Literal[1] = Field(1, description="Version of this format.")
    case: str = Field(description="The case's id in the challenge.")
    rows: tuple[Row, ...] = Field(description="Every system's rows, in the order of the systems.")
    prompts: dict[str, PromptCase] = Field({}, description="The prompts that each system was given.")
    notes: tuple[str, ...] = Field((), description="What was left out, and why.")
    seconds: float = Field(ge=0, description="Wall-clock seconds of the case, scoring included.")
    devices: dict[str, str] = Field({}, description="Where each system computed.")
    unread: bool = Field(False, description="Whether its files could not be read, so that all has failed.")
    made_of: str = Field("", description="A digest of the files that it came from, see `freshness.made_of`.")


class Setup(Record):
    """What an evaluation's folder was begun with; only the same may go on in it."""

    format: Literal[1] = Field(1, description="Version of this format.")
    challenge: dict[str, JsonValue] = Field(description="The whole YAML.")
    protocols: tuple[str, ...] = Field(description="How systems are prompted.")
    prompts: str = Field("", description="Of replayed prompts the SHA-256 of their file.")
    systems: dict[str, dict[str, JsonValue]] = Field(description="Of each its id, checksum and licence.")
    only: dict[str, tuple[str, ...]] = Field({}, description="Patients of systems that are not run on all.")


def begin(folder: Path, setup: Setup) -> None:
    """Make the folder of an evaluation, or take up one that was begun in the same way.

    Raises:
        ConfigError: for a folder in which something else was begun.
        FileError: where it cannot be made.
    """
    make_folder(folder / CASES)
    path = folder / SETUP
    if path.is_file():
        before = read_json(Setup, path, FileError)
        differ = [name for name in Setup.model_fields if getattr(before, name) != getattr(setup, name)]
        if differ:
            raise ConfigError(
                f"{folder}: holds another evaluation, with other {', '.join(differ)}. Expected the same, to "
                "go on with it, or an empty folder: give another --out, or remove this one."
            )
        return
    if any((folder / CASES).glob("*.json")):
        raise ConfigError(f"{folder}: has cases but no {SETUP}. Give another --out, or remove this one.")
    write_whole(setup, path)


def case_path(folder: Path, case: str) -> Path:
    """Where a case's file lies; what no file name may hold is escaped."""
    return folder / CASES / f"{file_name(case)}.json"


def file_name(case: str) -> str:
    """A case's id as a file name; what is too long for one ends in a digest of all of it."""
    quoted = quote(case, safe=" +,()", errors="surrogateescape")
    if len(quoted) <= _LONGEST_NAME:
        return quoted
    return f"{quoted[:_LONGEST_NAME]}~{sha256(quoted.encode()).hexdigest()[:16]}"


def read_casefile(path: Path) -> CaseFile:
    """Read a finished case.

    Raises:
        FileError: naming file and field.
    """
    return read_json(CaseFile, path, FileError)


def write_whole(record: Record, path: Path) -> None:
    """Write a record in one step, with what is none in it too."""
    text = json.dumps(record.model_dump(mode="json"), ensure_ascii=False, allow_nan=False)
    replace_text(path, text + "\n")


def relative(image: Path, folder: Path) -> str:
    """A scan's path as prompt files have it: from their folder, with forward slashes.

    What they may not hold is replaced: the scan is found by its fingerprint.
    """
    try:
        found = str(PurePosixPath(Path(os.path.relpath(image.resolve(), folder.resolve())).as_posix()))
    except ValueError:  # another drive: no relative path leads there
        found = image.name
    found = found.encode("utf-8", "replace").decode("utf-8").replace("\\", "_")
    return f"./{found}" if PureWindowsPath(found).anchor else found
