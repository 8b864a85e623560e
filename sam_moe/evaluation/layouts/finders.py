"""Which function finds the cases of which layout."""

from collections.abc import Callable
from pathlib import Path

from sam_moe.evaluation.layouts import folders
from sam_moe.evaluation.layouts.source import Found, Source

FINDERS: dict[str, Callable[[Source, Path], list[Found]]] = {"folders": folders.find}
