"""Settings, cards and prompt files are records: one definition gives the check, the message and the file.

Settings are YAML, overridden by `--set a.b=c`; cards and prompt sets are JSON. A wrong key is an error that
names the file, the field and the nearest known key. What ran is written beside what it made.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from sam_moe.errors import ConfigError, SamMoeError
from sam_moe.explaining import explain, nearest_first
from sam_moe.files import read_bytes, replace_text
from sam_moe.parsing import decoded, parse_json, parse_yaml

__all__ = [
    "Record",
    "Settings",
    "check_json",
    "dump_settings",
    "explain",
    "load_settings",
    "nearest_first",
    "read_json",
    "read_object",
    "write_json",
]

# What a file may hold: PyYAML reads some 100,000 letters a second, JSON is a hundred times quicker.
_MOST_YAML, _MOST_JSON = 4 * 2**20, 256 * 2**20

R = TypeVar("R", bound="Record")
S = TypeVar("S", bound="Settings")


class Record(BaseModel):
    """A frozen, checked record that refuses keys it does not know and numbers that are not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Settings(Record):
    """The base of everything a recipe can set."""


def load_settings(cls: type[S], path: Path | str | None, overrides: Sequence[str] = ()) -> S:
    """Read settings from a YAML file (or from the defaults, for None) and apply `a.b=c` overrides in order.

    Values of overrides are YAML too: `--set seeds=[1,2]`, `--set data.note="a, b"`.

    Raises:
        ConfigError: naming the file or the override, the key, and the nearest known key.
    """
    where = "the default settings" if path is None else str(path)
    data = {} if path is None else read_settings(path)
    overridden = {_override(data, text): text for text in overrides}
    try:
        return cls.model_validate(data)
    except ValidationError as error:
        raise ConfigError(explain(error, cls, where, overridden)) from error


def read_settings(path: Path | str) -> dict[str, Any]:
    """What a YAML file of settings holds, unchecked; nothing for an empty file.

    Raises:
        ConfigError: naming the file, where it cannot be read or holds no 'key: value' lines.
    """
    try:
        found = parse_yaml(_read_text(path, ConfigError, _MOST_YAML))
    except ValueError as error:
        raise ConfigError(f"{path}: not readable as YAML: {error}") from error
    data = {} if found is None else found  # an empty file
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected 'key: value' lines, found a {type(data).__name__}.")
    return data


def dump_settings(settings: Settings, path: Path | str) -> None:
    """Write settings as YAML that `load_settings` reads back equal.

    Letters beyond ASCII are escaped: PyYAML would turn some line breaks among them into spaces.
    """
    replace_text(path, yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False))


def read_json(cls: type[R], path: Path | str, error_class: type[SamMoeError]) -> R:
    """Read a record from a JSON file, as strictly as its JSON schema: "2" is no number, "no" no truth value.

    Raises:
        error_class: naming the file, the field and, for an unknown key, the nearest known one.
    """
    return check_json(cls, _object(path, error_class, finite=False), path, error_class)


def read_object(path: Path | str, error_class: type[SamMoeError]) -> dict[str, Any]:
    """Read a JSON file that holds one object, unchecked but for keys given twice and numbers without end.

    Raises:
        error_class: for anything else.
    """
    return _object(path, error_class, finite=True)


def check_json(cls: type[R], data: Mapping[str, Any], path: Path | str, error_class: type[SamMoeError]) -> R:
    """Check what `read_object` read; its errors are those of `read_json`."""
    if "format" in cls.model_fields:
        known, found = cls.model_fields["format"].default, data.get("format")
        if isinstance(found, int) and found > known:
            raise error_class(
                f"{path}: format: {found} is newer than {known}, the newest known here; update sam-moe."
            )
    try:
        return cls.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        raise error_class(explain(error, cls, str(path))) from error


def write_json(record: Record, path: Path | str) -> None:
    """Write a record as indented JSON, optional fields that are empty left out, in one step."""
    data = record.model_dump(mode="json", exclude_none=True)
    replace_text(path, json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def _override(data: dict[str, Any], text: str) -> tuple[str, ...]:
    """Put `a.b=c` into nested settings; returns the key's path."""
    key, equals, value = text.partition("=")
    path = tuple(key.strip().split("."))
    if not equals or not all(path):
        raise ConfigError(
            f"--set {text}: expected KEY=VALUE, nested keys with dots: --set optimiser.lr=1e-4."
        )
    for depth, part in enumerate(path[:-1], start=1):
        inner = data.get(part, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {text}: {'.'.join(path[:depth])} is a value, not a group of settings.")
        data[part] = data = dict(inner)  # a copy: an alias elsewhere in the file may mean the same one
    try:
        data[path[-1]] = parse_yaml(value)
    except ValueError as error:
        raise ConfigError(f"--set {text}: the value is not readable as YAML: {error}") from error
    return path


def _object(path: Path | str, error_class: type[SamMoeError], finite: bool) -> dict[str, Any]:
    text = _read_text(path, error_class, _MOST_JSON)
    try:
        data = parse_json(text, finite)
    except ValueError as error:
        raise error_class(f"{path}: not readable as JSON: {error}") from error
    if not isinstance(data, dict):
        raise error_class(f"{path}: the whole record: expected an object, found a {type(data).__name__}.")
    return data


def _read_text(path: Path | str, error_class: type[SamMoeError], most: int) -> str:
    try:
        return decoded(read_bytes(path, error_class, most))
    except ValueError as error:
        raise error_class(f"{path}: {error}.") from error
