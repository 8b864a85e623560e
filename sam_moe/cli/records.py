"""Options as frozen records: a verb takes a record, and typer sees each of its fields as an option."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from typing import Any, get_type_hints

Verb = Callable[..., None]


def takes_records(order: str = "") -> Callable[[Verb], Verb]:
    """Decorator of a verb: typer gets an option for each field of the dataclasses among its parameters.

    A field is annotated as a parameter would be, `Annotated[type, typer.Option(...)]`. Options are listed by
    --help as the parameters stand, a record's in its place; or as `order` names them, with spaces between.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Size:
    ...     rows: int = 1
    ...     columns: int = 1
    >>> def draw(name: str, size: Size) -> None: ...
    >>> list(inspect.signature(takes_records()(draw)).parameters)
    ['name', 'rows', 'columns']
    """

    def decorate(verb: Verb) -> Verb:
        return _flat(verb, order)

    return decorate


def _flat(verb: Verb, order: str) -> Verb:
    hints = get_type_hints(verb, include_extras=True)
    plain, records = list[inspect.Parameter](), dict[str, type]()
    for name, parameter in inspect.signature(verb).parameters.items():
        hint = hints.get(name, Any)
        if is_dataclass(hint) and isinstance(hint, type):
            records[name] = hint
            plain += _parameters_of(hint)
        else:
            plain.append(parameter.replace(annotation=hint, kind=inspect.Parameter.KEYWORD_ONLY))
    names = [parameter.name for parameter in plain]
    assert len(set(names)) == len(names), f"{verb.__name__}: two options have one name among {names}"
    listed = order.split() or names
    assert sorted(listed) == sorted(names), f"{verb.__name__}: {listed} are not its options, {names}"
    plain.sort(key=lambda parameter: listed.index(parameter.name))

    @wraps(verb)
    def flat(**given: Any) -> None:
        made = {
            name: record(**{field.name: given.pop(field.name) for field in fields(record)})
            for name, record in records.items()
        }
        verb(**given, **made)

    flat.__signature__ = inspect.Signature(plain)  # type: ignore[attr-defined]
    flat.__annotations__ = {parameter.name: parameter.annotation for parameter in plain}
    return flat


def _parameters_of(record: type) -> list[inspect.Parameter]:
    hints = get_type_hints(record, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(record)
    ]
