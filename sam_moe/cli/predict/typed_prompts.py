"""Points, boxes, strokes and loops as typed: numbers, signs included, in one order over all options."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.core import TyperCommand

from sam_moe.cli.options import UsageError
from sam_moe.ownership import is_there

_POINT, _BOX, _LINE = (
    ("I", "J", "K"),
    ("I0", "J0", "K0", "I1", "J1", "K1"),
    ("I", "J", "K", "I", "J", "K", "…"),
)
NUMBERS = {
    "--point": _POINT,
    "--negative": _POINT,
    "--box": _BOX,
    "--flat-box": _BOX,
    "--stroke": _LINE,
    "--negative-stroke": _LINE,
    "--loop": _LINE,
    "--negative-loop": _LINE,
}
_WORDS = {3: "three", 6: "six"}
_LEAST = {"stroke": 1, "loop": 3}  # points of a line
_COUNTED = {1: "one", 3: "three"}


@dataclass(frozen=True, order=True)
class Typed:
    """One item of a prompt: its place among all of them, the option that gave it, its numbers."""

    place: int
    option: str
    numbers: tuple[float, ...]


class PromptCommand(TyperCommand):
    """A verb whose prompt options take numbers, three, six or more, repeatable, in an order that counts.

    Typer takes neither a list of several numbers nor the order between options (0.29 refuses
    `list[tuple[float, ...]]`, and no longer stands on click); a fixed number of numbers would not do for
    strokes and loops, which have as many points as are typed. So each `--point 40 52 17` is handed to it as
    the one word `--point=0:40 52 17`, numbered, and `in_order` takes these apart again.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Join the numbers of each prompt option into one word, then let typer read the words."""
        return super().parse_args(ctx, list(_joined(args, ctx)))


def in_order(given: Mapping[str, Iterable[str] | None]) -> list[Typed]:
    """The prompt options in the order they were typed, from the lists that typer gives for each of them.

    >>> in_order({"point": ["1:4 5 6"], "box": None, "negative": ["0:1 2 3"]})[0].option
    '--negative'
    """
    found = []
    for name, words in given.items():
        for place, _, numbers in (word.partition(":") for word in words or ()):
            found.append(Typed(int(place), f"--{name}", tuple(map(float, numbers.split()))))
    return sorted(found)


def _joined(args: list[str], context: Any) -> Iterable[str]:
    place = 0
    rest = list(args)
    while rest:
        word = rest.pop(0)
        option, equals, value = word.partition("=")
        if word == "--":
            yield from (word, *rest)
            return
        if option not in NUMBERS:
            yield word
            continue
        if equals:
            rest.insert(0, value)
        given = list(_leading_numbers(rest))
        if NUMBERS[option] is _LINE:
            count = _line_length(option, given, rest, context)
            yield f"{option}={place}:{' '.join(rest[:count])}"
            place, rest = place + 1, rest[count:]
            continue
        count = len(NUMBERS[option])
        typed, surplus = rest[:count], given[count:]
        # A scan may have a number for a name: `--point 1 2 3 007`.
        if len(given) < count or (surplus and not is_there(Path(surplus[0]))):
            raise UsageError(_complaint(option, given, rest), context)
        yield f"{option}={place}:{' '.join(typed)}"
        place, rest = place + 1, rest[count:]


def _line_length(option: str, given: list[str], rest: list[str], context: Any) -> int:
    """How many of the numbers after a stroke or a loop are its own: whole triples, enough of them."""
    over = len(given) % 3
    # A scan may have a number for a name: `--stroke 1 2 3 4 5 6 007`.
    if over == 1 and is_there(Path(given[-1])):
        over, given = 0, given[:-1]
    least = _LEAST[option.rpartition("-")[2]]
    stop = rest[len(given)] if len(rest) > len(given) else "--"
    if over or len(given) < 3 * least or (not stop.startswith("--") and _is_written_otherwise(stop)):
        raise UsageError(_line_complaint(option, given, rest, least), context)
    return len(given)


def _is_written_otherwise(word: str) -> bool:
    """Whether a word holds numbers in another writing: 40,52,17 or "(40," or "40 52 17"."""
    pieces = re.findall(r"[^\s,;()\[\]]+", word)
    return not is_there(Path(word)) and bool(pieces) and len(list(_leading_numbers(pieces))) == len(pieces)


def _line_complaint(option: str, given: list[str], rest: list[str], least: int) -> str:
    points = f"at least {_COUNTED[least]} point{'s' * (least > 1)}"
    wanted = f"{option} takes three numbers for each point, {' '.join(_LINE)}, and {points}"
    pieces = re.findall(r"[^\s,;()\[\]]+", " ".join(_upto_option(rest)))
    numbers = list(_leading_numbers(pieces))
    if len(numbers) > len(given) and len(numbers) % 3 == 0 and len(numbers) >= 3 * least:
        return f"{wanted}, with spaces between. Write: {option} {' '.join(numbers)}"
    return (
        f"{wanted}, and there {'is' if len(given) == 1 else 'are'} {len(given)}: {' '.join(given) or 'none'}."
    )


def _leading_numbers(words: list[str]) -> Iterable[str]:
    for word in words:
        try:
            number = float(word)
        except ValueError:
            return
        if not math.isfinite(number):
            return
        yield word


def _complaint(option: str, given: list[str], rest: list[str]) -> str:
    names = NUMBERS[option]
    wanted = f"{option} takes {_WORDS[len(names)]} numbers, {' '.join(names)}"
    if len(given) > len(names):
        return (
            f"{wanted}, and there are {len(given)}: {' '.join(given)}. "
            f"For several, repeat {option} before each."
        )
    stop = rest[len(given)] if len(rest) > len(given) else None
    if stop is None or stop.startswith("--"):
        found = f"{len(given)} of them: {' '.join(given)}" if given else "none"
        return f"{wanted}, and there {'is' if len(given) < 2 else 'are'} {found}."
    # 40,52,17 or (40, 52, 17) or "40 52 17": what was meant is plain, say how it is written.
    pieces = re.findall(r"[^\s,;()\[\]]+", " ".join([*given, *_upto_option(rest[len(given) :])]))
    if len(list(_leading_numbers(pieces[: len(names)]))) == len(names):
        return f"{wanted}, with spaces between. Write: {option} {' '.join(pieces[: len(names)])}"
    return f"{wanted}, and {stop!r} is no finite number."


def _upto_option(words: list[str]) -> Iterable[str]:
    for word in words:
        if word.startswith("--"):
            return
        yield word
