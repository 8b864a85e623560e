"""YAML and JSON that people write, to plain data: whatever the text is, data or one line of complaint, soon.

Keys given twice, texts that nest too deeply or unfold to far more than was written (YAML's aliases), numbers
that are no numbers and letters that are no letters are refused here, so that no reader has to think of them.
"""

import codecs
import json
import math
import re
from typing import Any

import yaml

# Text that people write holds less; a deeper one exhausts what reads it.
_MOST_DEPTH = 64
_MOST_DIGITS = 100
# What a YAML text may unfold to: this many values, or two for each letter.
_LEAST_UNFOLDED = 20_000
_MERGE = "tag:yaml.org,2002:merge"
_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",  # before UTF-16, whose mark begins alike
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


def decoded(data: bytes) -> str:
    """The text of a file in UTF-8, with or without a byte order mark.

    Raises:
        ValueError: in one line with the remedy, for any other encoding.
    """
    remedy = "Expected UTF-8; open it in an editor and save it anew as UTF-8"
    for mark, name in _MARKS.items():
        if data.startswith(mark):
            raise ValueError(f"the text is {name}. {remedy}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"byte {error.start} is no UTF-8 (0x{data[error.start]:02x}: {error.reason}). {remedy}"
        ) from error
    if "\0" in text:
        raise ValueError(f"the text holds zeros, as UTF-16 and binary files do. {remedy}")
    return text


def parse_json(text: str, finite: bool = True) -> Any:
    """Read JSON strictly: no key twice, no NaN or infinity, no number of absurd length, no half letter.

    Without `finite` NaN and infinity pass, for a record that names the field that holds them.

    Raises:
        ValueError: in one line.
    """
    try:
        data = json.loads(
            text,
            object_pairs_hook=_without_duplicates,
            parse_constant=_no_number if finite else None,
            parse_float=_finite if finite else None,
            parse_int=_whole,
        )
    except RecursionError as error:
        raise ValueError(_too_deep()) from error
    _check_depth(data)
    if re.search(r"\\u[dD]", text):  # only an escape can write half of a letter
        try:
            json.dumps(data, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"the text holds \\u{ord(error.object[error.start]):04x}, half of a letter (a lone surrogate)"
            ) from error
    return data


def parse_yaml(text: str) -> Any:
    """Read YAML without objects of Python: no key twice, no text that unfolds beyond what was written.

    Raises:
        ValueError: in one line.
    """
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _check_unfolded(node, max(_LEAST_UNFOLDED, 2 * len(text)))
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except RecursionError as error:
        raise ValueError(_too_deep()) from error
    except yaml.YAMLError as error:
        raise ValueError(_one_line(error)) from error
    except (ValueError, LookupError, AttributeError, TypeError, ArithmeticError) as error:
        # PyYAML takes a tag at its word: !!int x, !!bool x, !!timestamp x, the 99th of March
        raise ValueError(f"a value is not what it claims to be ({_one_line(error)})") from error


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, except that a key given twice is an error instead of the last one winning."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > _MOST_DEPTH:  # now, not at the end of a text that may be long
            raise yaml.YAMLError(_too_deep())
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if key_node.tag == _MERGE:
                continue
            key = self.construct_object(key_node, deep=True)
            try:
                twice = key in seen
                seen.add(key)
            except TypeError:  # a list as a key, which is refused below with its place
                continue
            if twice:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {_shown(key)} is given twice", node.start_mark
                )
        return super().construct_mapping(node, deep)

    def construct_whole(self, node: yaml.ScalarNode) -> int:
        """A whole number, unless it is so long that only an attack has it."""
        value = str(self.construct_scalar(node))
        if len(value) > _MOST_DIGITS:
            raise yaml.constructor.ConstructorError(
                None, None, f"a number of {len(value):,} digits", node.start_mark
            )
        return int(super().construct_yaml_int(node))


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_whole)


def _check_unfolded(root: yaml.Node, most: int) -> None:
    """Refuse a text whose aliases stand for more than `most` values, or that nests too deeply."""
    waiting, count = [(root, 1)], 0
    while waiting:
        node, depth = waiting.pop()
        count += 1
        if depth > _MOST_DEPTH:
            raise yaml.YAMLError(_too_deep())
        if count > most:
            raise yaml.YAMLError(f"its aliases unfold to more than {most:,} values; write out what is meant")
        if isinstance(node, yaml.MappingNode):
            waiting.extend((part, depth + 1) for pair in node.value for part in pair)
        elif isinstance(node, yaml.SequenceNode):
            waiting.extend((part, depth + 1) for part in node.value)


def _check_depth(data: Any) -> None:
    waiting = [(data, 1)]
    while waiting:
        value, depth = waiting.pop()
        if depth > _MOST_DEPTH:
            raise ValueError(_too_deep())
        if isinstance(value, dict):
            waiting.extend((part, depth + 1) for part in value.values() if isinstance(part, dict | list))
        elif isinstance(value, list):
            waiting.extend((part, depth + 1) for part in value if isinstance(part, dict | list))


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {_shown(key)} is given twice")
        found[key] = value
    return found


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number; write a finite one, or leave the key out")


def _finite(word: str) -> float:
    number = float(word)
    if not math.isfinite(number):
        raise ValueError(f"{_shown(word)} is beyond every floating-point number")
    return number


def _whole(word: str) -> int:
    if len(word) > _MOST_DIGITS:
        raise ValueError(f"a number of {len(word):,} digits")
    return int(word)


def _too_deep() -> str:
    return f"brackets are nested more than {_MOST_DEPTH} deep"


def _shown(key: object) -> str:
    text = repr(key)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 500 else f"{text[:499]}…"
