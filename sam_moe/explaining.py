"""One line for a person out of what pydantic found wrong, in time linear in what it found."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ValidationError

_SHOWN_PROBLEMS = 4
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")  # of a model, of a dataclass
_KEY_PROBLEMS = (*_UNKNOWN, "missing")  # pydantic: the location ends with the key
_TAG_PROBLEMS = ("union_tag_invalid", "union_tag_not_found")  # pydantic: a key chooses among records
# What a file holds is shown up to this many characters: its author wrote it, and it may be megabytes.
_SHOWN_KEY, _SHOWN_INPUT, _SHOWN_MESSAGE = 60, 80, 500


class _Known(NamedTuple):
    """A field of a record: what it holds, and what it is for."""

    annotation: Any
    description: str | None


def nearest_first(name: str, known: Iterable[str]) -> list[str]:
    """The known names, those spelled most like `name` first."""
    name = name[: 2 * _SHOWN_KEY]  # a longer one resembles nothing, and comparing would take minutes
    ratios = {other: difflib.SequenceMatcher(None, name, other[: 2 * _SHOWN_KEY]).ratio() for other in known}
    return sorted(ratios, key=lambda other: (-ratios[other], other))


def explain(
    error: ValidationError,
    cls: type[BaseModel],
    where: str,
    overridden: Mapping[tuple[str, ...], str] | None = None,
) -> str:
    """One line for a person out of a pydantic error: where, which field, what is wrong, what to do.

    The first problems are shown and the others counted. `overridden` names the keys that came from the
    command line rather than from `where`.
    """
    found = error.errors(include_url=False)
    groups = {problem["loc"][:depth] for problem in found for depth in range(len(problem["loc"]))}
    # A sequence that is too short only because its bad elements were left out is no problem of its own.
    found = [p for p in found if not (p["type"] == "too_short" and p["loc"] in groups)]
    problems = []
    for problem in found[:_SHOWN_PROBLEMS]:
        path, models = _walk(cls, problem["loc"], problem["type"] in _KEY_PROBLEMS)
        from_command = (text for key, text in (overridden or {}).items() if problem["loc"][: len(key)] == key)
        origin = next((f"--set {text}" for text in from_command), where)
        problems.append(f"{origin}: {path or 'the whole record'}: {_complaint(dict(problem), models)}")
    shown = "; ".join(problems)
    more = len(found) - _SHOWN_PROBLEMS
    return f"{shown}; and {more} more" if more > 0 else shown


def shortened(text: str, most: int) -> str:
    """Text of at most `most` characters, the end of a longer one replaced by an ellipsis."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _complaint(problem: dict[str, Any], models: list[type]) -> str:
    if problem["type"] in _UNKNOWN:
        known = nearest_first(str(problem["loc"][-1]), {key for model in models for key in _fields(model)})
        return f"unknown key; did you mean '{known[0]}'? Known here: {', '.join(known)}"
    if problem["type"] == "missing":
        name = problem["loc"][-1]
        field = next((_fields(model)[name] for model in models if name in _fields(model)), None)
        return f"missing; add it{f' ({field.description})' if field and field.description else ''}"
    if problem["type"] in _TAG_PROBLEMS:
        key, tag = problem["ctx"]["discriminator"], problem["ctx"].get("tag")
        if tag is None:
            return f"{key} is missing; add it: it decides which other keys there are"
        shown = repr(shortened(str(tag), _SHOWN_INPUT))
        return f"{key} is {shown}, which is none of {problem['ctx']['expected_tags']}; correct it"
    message = shortened(problem["msg"].removeprefix("Value error, ").rstrip("."), _SHOWN_MESSAGE)
    if problem["type"] == "value_error":
        return message
    given = repr(problem["input"])
    return message if len(given) > _SHOWN_INPUT else f"{message}, not {given}"


def _walk(cls: type[BaseModel], loc: Sequence[int | str], ends_with_key: bool) -> tuple[str, list[type]]:
    """The readable path of a location, and the records whose keys stand at its end."""
    path = ""
    models: list[type] = [cls]
    here: list[type] = [cls]
    by_name = False  # whether `here` are the values of a mapping, whose key comes next
    for place, part in enumerate(loc, start=1):
        if isinstance(part, int):
            path += f"[{part}]"
            continue
        shown = shortened(" ".join(part.split()), _SHOWN_KEY)
        models = here
        if by_name:
            path, by_name = f"{path}.{shown}", False
            continue
        found = [_fields(model)[part] for model in models if part in _fields(model)]
        tagged = [model for model in models if part in _tags(model)]
        if (
            not found and tagged and not (ends_with_key and place == len(loc))
        ):  # the branch of a union, not a key in the file
            here = tagged
            continue
        here = [model for field in found for model in _records_in(field.annotation)]
        by_name = any(_is_mapping(field.annotation) for field in found)
        path += f".{shown}" if path else shown
    return path, models


def _fields(record: type) -> dict[str, _Known]:
    """The fields of a pydantic model, or of a plain dataclass whose metadata describes them."""
    if issubclass(record, BaseModel):
        return {
            name: _Known(field.annotation, field.description) for name, field in record.model_fields.items()
        }
    assert is_dataclass(record), record
    types = get_type_hints(record)
    return {f.name: _Known(types[f.name], f.metadata.get("description")) for f in fields(record)}


def _tags(model: type) -> set[str]:
    return {str(tag) for field in _fields(model).values() for tag in get_args(field.annotation)} | {
        model.__name__
    }


def _records_in(annotation: Any) -> list[type]:
    if isinstance(annotation, type) and (issubclass(annotation, BaseModel) or is_dataclass(annotation)):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _records_in(inner)]


def _is_mapping(annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        return any(_is_mapping(inner) for inner in get_args(annotation))
    return origin in (dict, Mapping)
