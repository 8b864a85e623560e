"""The names of a protocol's steps, by the kinds of items given so far: `box`, `box+click3`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from sam_moe.prompts.prompt import Box, Item, Point, Stroke

Kind = Literal["point", "box", "flat", "stroke", "loop"]

ALL: frozenset[Kind] = frozenset({"point", "box", "flat", "stroke", "loop"})

_WORDS: Mapping[Kind, str] = {
    "box": "box",
    "flat": "flat",
    "point": "click",
    "stroke": "stroke",
    "loop": "loop",
}


def step_names(items: Sequence[Item]) -> tuple[str, ...]:
    """The name of each step: a count of its boxes, flat boxes, clicks, strokes and loops.

    A recorded box is flat where it is given as flat, or one voxel thick; of a box in millimetres alone one of
    no more than 1 mm, as its scan's slices are not known here.

    >>> step_names((Box((0, 0, 0), (9, 9, 9)), Point((0, 0, 0))))
    ('box', 'box+click1')
    """
    names = []
    for count in range(1, len(items) + 1):
        met = Counter(_WORDS[_kind(item)] for item in items[:count])
        boxes = [f"{word}{met[word] if met[word] > 1 else ''}" for word in ("box", "flat") if met[word]]
        names.append("+".join(boxes + [f"{w}{met[w]}" for w in ("click", "stroke", "loop") if met[w]]))
    return tuple(names)


def kinds_of(steps: Sequence[str]) -> frozenset[Kind]:
    """The kinds of items that steps of these names are made of."""
    return frozenset(kind for kind, word in _WORDS.items() if any(word in step for step in steps))


def _kind(item: Item) -> Kind:
    if isinstance(item, Box):
        return "flat" if item.flat_axes(np.eye(4)) else "box"
    if isinstance(item, Point):
        return "point"
    return "stroke" if isinstance(item, Stroke) else "loop"
