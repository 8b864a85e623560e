"""A selection rule from its name and settings, as cards, recipes and texts give them, and back."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from sam_moe.errors import ConfigError
from sam_moe.explaining import nearest_first
from sam_moe.moe.rules import RULES
from sam_moe.moe.selection import ExpertIndex, NamedRule, SelectionRule
from sam_moe.parsing import parse_yaml


def make_rule(name: str, settings: Mapping[str, Any] | None = None, experts: Sequence[str] = ()) -> NamedRule:
    """The rule of a name with these settings; others are its defaults.

    `experts` are the ids in the gate's order; where they are given, settings name an expert by its id alone,
    because an index is another expert's when columns come or go.

    Raises:
        ConfigError: for an unknown rule or setting, the nearest known first, a value that does not fit, and
            a class that names itself otherwise.
    """
    kind, given = RULES.load(name), dict(settings or {})
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind, include_extras=True)
        known = [field.name for field in dataclasses.fields(kind) if field.init]
        given = {key: _value(name, key, value, hints, known, experts) for key, value in given.items()}
    try:
        rule = kind(**given)
    except TypeError as error:
        raise ConfigError(f"selection rule {name!r} cannot be made of {given}: {error}.") from error
    if not isinstance(rule, NamedRule):
        raise ConfigError(
            f"selection rule {name!r} lacks a method or its name. Expected a class that does what "
            "`sam_moe.moe.selection.NamedRule` asks for."
        )
    if rule.name != name:
        raise ConfigError(
            f"selection rule {name!r} is class {type(rule).__name__}, which names itself {rule.name!r}. "
            "Expected one name, by which its card finds it again: set "
            f"`name = {name!r}` in a class of its own."
        )
    return rule


def read_rule(text: str, experts: Sequence[str] = ()) -> NamedRule:
    """The rule that a text names, such as "top_k:k=2" or "forced:index=liver"; values are YAML.

    >>> read_rule("top_k:k=1,raw=true")
    TopK(k=1, raw=True)

    Raises:
        ConfigError: as `make_rule`, and for a text of another form.
    """
    name, colon, rest = text.partition(":")
    pairs = [pair.partition("=") for pair in rest.split(",")] if colon else []
    if not name or any(not key.strip() or not equals for key, equals, _ in pairs):
        raise ConfigError(f"selection rule {text!r}: expected NAME or NAME:KEY=VALUE,KEY=VALUE.")
    try:
        settings = {key.strip(): parse_yaml(value) for key, _, value in pairs}
    except ValueError as error:
        raise ConfigError(f"selection rule {text!r}: a value is not readable as YAML: {error}") from error
    return make_rule(name.strip(), settings, experts)


def settings_of(rule: SelectionRule, experts: Sequence[str] = ()) -> dict[str, Any]:
    """What differs from a rule's defaults, as `make_rule` takes it; experts by id where `experts` has ids.

    >>> from sam_moe.moe.rules.forced import Forced
    >>> settings_of(Forced(1), ["general", "liver"])
    {'index': 'liver'}

    Raises:
        ConfigError: for a rule that is no frozen record, so that its settings are not known.
    """
    kind: Any = type(rule)
    if not dataclasses.is_dataclass(kind):
        raise ConfigError(f"{rule!r} is no frozen record: its settings cannot be read. Make it a dataclass.")
    hints = get_type_hints(kind, include_extras=True)
    found = {}
    for field in dataclasses.fields(kind):
        value = getattr(rule, field.name)
        if not field.init or value == field.default:
            continue
        named = hints[field.name] == ExpertIndex and 0 <= value < len(experts)
        found[field.name] = experts[value] if named else value
    return found


def text_of(rule: SelectionRule, experts: Sequence[str] = ()) -> str:
    """A rule as `read_rule` takes it; one that is no frozen record as Python shows it.

    >>> from sam_moe.moe.rules.top_k import TopK
    >>> text_of(TopK(1, raw=True))
    'top_k:k=1,raw=true'
    """
    if not isinstance(rule, NamedRule) or not dataclasses.is_dataclass(type(rule)):
        return repr(rule)
    found = ",".join(f"{key}={_plain(value)}" for key, value in settings_of(rule, experts).items())
    return f"{rule.name}:{found}" if found else rule.name


def _plain(value: Any) -> str:
    """A value as YAML has it on one line."""
    return str(yaml.safe_dump(value)).removesuffix("...\n").strip()


def _value(
    rule: str,
    key: str,
    value: Any,
    hints: Mapping[str, Any],
    known: Sequence[str],
    experts: Sequence[str],
) -> Any:
    if key not in known:
        nearest = ", ".join(nearest_first(key, known)) or "none"
        raise ConfigError(f"selection rule {rule!r} has no setting {key!r}. Known, nearest first: {nearest}.")
    if hints[key] == ExpertIndex and experts and isinstance(value, int):
        raise ConfigError(
            f"selection rule {rule!r}: {key}: expected an expert's id, not its index {value!r}. Known: "
            f"{', '.join(experts)}."
        )
    if hints[key] == ExpertIndex and isinstance(value, str):
        if value not in experts:
            nearest = ", ".join(nearest_first(value, experts)) or "none"
            raise ConfigError(
                f"selection rule {rule!r}: {key}: {value!r} is not among the experts. Known, nearest first: "
                f"{nearest}."
            )
        return experts.index(value)
    small = hints[key] is float and isinstance(value, str)  # 1e-3 is text to YAML 1.1, which wants 1.0e-3
    try:
        return TypeAdapter(hints[key]).validate_python(value, strict=not small)
    except ValidationError as error:
        wanted = get_args(hints[key])[0] if get_args(hints[key]) else hints[key]
        shown = getattr(wanted, "__name__", wanted)
        raise ConfigError(f"selection rule {rule!r}: {key}: expected {shown}, not {value!r}.") from error
