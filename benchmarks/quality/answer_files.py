"""Answers in a file beside their table, from which it is made again in seconds.

A line of JSON a target: its fields, then each answer about it as `[system, prompt, Dice, seconds, flags]`
with an object of further fields behind it where there are any. Dice has six digits, seconds have four.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, TypeVar

from benchmarks.quality.blocks import Target
from benchmarks.quality.protocol import Score


class Scored(Protocol):
    """Anything with a target and a score."""

    @property
    def target(self) -> Target: ...
    @property
    def score(self) -> Score: ...


One = TypeVar("One", bound=Scored)
_FLAGS = ("refused", "idle")


def write_answers(
    path: Path, answers: Iterable[One], record: Callable[[One], tuple[str, Mapping[str, Any]]]
) -> None:
    """Write answers; `record` gives the name of the system that answered, and further fields."""
    lines: dict[Target, list[Any]] = {}
    for answer in answers:
        score, (system, more) = answer.score, record(answer)
        flags = " ".join(flag for flag in _FLAGS if getattr(score, flag))
        cells = [system, score.prompt, round(score.dice, 6), round(score.seconds, 4), flags]
        lines.setdefault(answer.target, []).append([*cells, more] if more else cells)
    text = (
        json.dumps({**asdict(target), "answers": own}, separators=(",", ":"), ensure_ascii=False) + "\n"
        for target, own in lines.items()
    )
    path.write_text("".join(text), encoding="utf-8")


def read_answers(path: Path, made: Callable[[Target, str, Score, dict[str, Any]], One]) -> list[One]:
    """Read answers back, in the order they were written."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        data = json.loads(line)
        answers = data.pop("answers")
        target = Target(**{**data, "values": tuple(data["values"])})
        for system, prompt, dice, seconds, flags, *more in answers:
            score = Score(prompt, dice, seconds, **dict.fromkeys(flags.split(), True))
            found.append(made(target, system, score, more[0] if more else {}))
    return found
