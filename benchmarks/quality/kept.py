"""Answers kept beside their table, so that it can be made again in seconds.

A line of JSON a target: what it is, then each answer about it as `[who, prompt, Dice, seconds, flags]`, with
an object of whatever else is known of an answer behind it.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, TypeVar

from benchmarks.quality.blocks import Target
from benchmarks.quality.protocol import Score


class Kept(Protocol):
    """Anything with a target and a score."""

    @property
    def target(self) -> Target: ...
    @property
    def score(self) -> Score: ...


One = TypeVar("One", bound=Kept)
_FLAGS = ("refused", "idle")


def keep(path: Path, answers: Iterable[One], told: Callable[[One], tuple[str, Mapping[str, Any]]]) -> None:
    """Write answers; `told` gives the name of who answered, and what else there is to keep."""
    lines: dict[Target, list[Any]] = {}
    for answer in answers:
        score, (who, more) = answer.score, told(answer)
        flags = " ".join(flag for flag in _FLAGS if getattr(score, flag))
        cells = [who, score.prompt, round(score.dice, 6), round(score.seconds, 4), flags]
        lines.setdefault(answer.target, []).append([*cells, more] if more else cells)
    text = (
        json.dumps({**asdict(target), "answers": own}, separators=(",", ":"), ensure_ascii=False) + "\n"
        for target, own in lines.items()
    )
    path.write_text("".join(text), encoding="utf-8")


def kept(path: Path, made: Callable[[Target, str, Score, dict[str, Any]], One]) -> list[One]:
    """Read answers back, in the order they were written."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        data = json.loads(line)
        answers = data.pop("answers")
        target = Target(**{**data, "values": tuple(data["values"])})
        for who, prompt, dice, seconds, flags, *more in answers:
            score = Score(prompt, dice, seconds, **dict.fromkeys(flags.split(), True))
            found.append(made(target, who, score, more[0] if more else {}))
    return found
