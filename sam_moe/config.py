"""Settings, cards and prompt files are records: one definition gives the check, the message and the file.

Settings are YAML, overridden by `--set a.b=c`; cards and prompt sets are JSON. A wrong key is an error that
names the file, the field and the nearest known key. What ran is written beside what it made.
"""

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from sam_moe.errors import ConfigError, SamMoeError
from sam_moe.files import replace_text

_SHOWN_PROBLEMS = 4
_KEY_PROBLEMS = ("extra_forbidden", "missing")  # pydantic: the location ends with the key

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
    data: dict[str, Any] = {}
    if path is not None:
        try:
            data = _yaml(_read_text(Path(path), ConfigError)) or {}
        except yaml.YAMLError as error:
            raise ConfigError(f"{where}: not readable as YAML: {_one_line(error)}") from error
        if not isinstance(data, dict):
            raise ConfigError(f"{where}: expected 'key: value' lines, found a {type(data).__name__}.")
    overridden = {_override(data, text): text for text in overrides}
    try:
        return cls.model_validate(data)
    except ValidationError as error:
        raise ConfigError(explain(error, cls, where, overridden)) from error


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
    return check_json(cls, read_object(path, error_class), path, error_class)


def read_object(path: Path | str, error_class: type[SamMoeError]) -> dict[str, Any]:
    """Read a JSON file that holds one object, unchecked but for keys given twice.

    Raises:
        error_class: for anything else.
    """
    text = _read_text(Path(path), error_class)
    try:
        data = json.loads(text, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:  # the latter where brackets are nested too deep
        raise error_class(f"{path}: not readable as JSON: {_one_line(error)}") from error
    if not isinstance(data, dict):
        raise error_class(f"{path}: the whole record: expected an object, found a {type(data).__name__}.")
    return data


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
    except RecursionError as error:
        raise error_class(f"{path}: not readable as JSON: {_one_line(error)}") from error
    except ValidationError as error:
        raise error_class(explain(error, cls, str(path))) from error


def write_json(record: Record, path: Path | str) -> None:
    """Write a record as indented JSON, optional fields that are empty left out, in one step."""
    data = record.model_dump(mode="json", exclude_none=True)
    replace_text(path, json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def nearest_first(name: str, known: Iterable[str]) -> list[str]:
    """The known names, those spelled most like `name` first."""
    return sorted(known, key=lambda other: (-difflib.SequenceMatcher(None, name, other).ratio(), other))


def explain(
    error: ValidationError,
    cls: type[BaseModel],
    where: str,
    overridden: dict[tuple[str, ...], str] | None = None,
) -> str:
    """One line for a person out of a pydantic error: where, which field, what is wrong, what to do.

    `overridden` names the keys that came from the command line rather than from `where`.
    """
    found = error.errors(include_url=False)
    problems = []
    for problem in found:
        inside = [other for other in found if other["loc"][:-1][: len(problem["loc"])] == problem["loc"]]
        if problem["type"] == "too_short" and inside:  # only because its bad elements were left out
            continue
        path, models = _walk(cls, problem["loc"], problem["type"] in _KEY_PROBLEMS)
        origin = next(
            (
                f"--set {text}"
                for key, text in (overridden or {}).items()
                if problem["loc"][: len(key)] == key
            ),
            where,
        )
        problems.append(f"{origin}: {path or 'the whole record'}: {_complaint(dict(problem), models)}")
    shown = "; ".join(problems[:_SHOWN_PROBLEMS])
    more = len(problems) - _SHOWN_PROBLEMS
    return f"{shown}; and {more} more" if more > 0 else shown


def _complaint(problem: dict[str, Any], models: list[type[BaseModel]]) -> str:
    if problem["type"] == "extra_forbidden":
        known = nearest_first(
            str(problem["loc"][-1]), {key for model in models for key in model.model_fields}
        )
        return f"unknown key; did you mean '{known[0]}'? Known here: {', '.join(known)}"
    if problem["type"] == "missing":
        name = problem["loc"][-1]
        field = next((model.model_fields[name] for model in models if name in model.model_fields), None)
        return f"missing; add it{f' ({field.description})' if field and field.description else ''}"
    message = problem["msg"].removeprefix("Value error, ").rstrip(".")
    given = repr(problem["input"])
    return message if problem["type"] == "value_error" or len(given) > 80 else f"{message}, not {given}"


def _walk(
    cls: type[BaseModel], loc: Sequence[int | str], ends_with_key: bool
) -> tuple[str, list[type[BaseModel]]]:
    """The readable path of a location, and the records whose keys stand at its end."""
    path, models, here = "", [cls], [cls]
    for place, part in enumerate(loc, start=1):
        if isinstance(part, int):
            path += f"[{part}]"
            continue
        models = here
        fields = [model.model_fields[part] for model in models if part in model.model_fields]
        tagged = [model for model in models if part in _tags(model)]
        if (
            not fields and tagged and not (ends_with_key and place == len(loc))
        ):  # the branch of a union, not a key in the file
            here = tagged
            continue
        here = [model for field in fields for model in _records_in(field.annotation)]
        path += f".{part}" if path else part
    return path, models


def _tags(model: type[BaseModel]) -> set[str]:
    return {str(tag) for field in model.model_fields.values() for tag in get_args(field.annotation)} | {
        model.__name__
    }


def _records_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _records_in(inner)]


def _override(data: dict[str, Any], text: str) -> tuple[str, ...]:
    """Put `a.b=c` into nested settings; returns the key's path."""
    key, equals, value = text.partition("=")
    path = tuple(key.strip().split("."))
    if not equals or not all(path):
        raise ConfigError(
            f"--set {text}: expected KEY=VALUE, nested keys with dots: --set optimiser.lr=1e-4."
        )
    for depth, part in enumerate(path[:-1], start=1):
        data = data.setdefault(part, {})
        if not isinstance(data, dict):
            raise ConfigError(f"--set {text}: {'.'.join(path[:depth])} is a value, not a group of settings.")
    try:
        data[path[-1]] = _yaml(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {text}: the value is not readable as YAML: {_one_line(error)}") from error
    return path


_MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, except that a key given twice is an error instead of the last one winning."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != _MERGE]
        for number, key in enumerate(keys):
            if key in keys[:number]:
                problem = f"key {key!r} is given twice"
                raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return super().construct_mapping(node, deep)


def _yaml(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    for number, key in enumerate(keys):
        if key in keys[:number]:
            raise ValueError(f"key {key!r} is given twice")
    return dict(pairs)


def _read_text(path: Path, error_class: type[SamMoeError]) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise error_class(f"{path}: no such file. Give the path of an existing file.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise error_class(f"{path}: cannot be read as text: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
