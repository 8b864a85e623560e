"""Which function finds the cases of which layout."""

from collections.abc import Callable
from pathlib import Path

from sam_moe.cases.layouts import folders, msd, nnunet, npz, sppin
from sam_moe.cases.layouts.source import Found, Source

FINDERS: dict[str, Callable[[Source, Path], list[Found]]] = {
    "folders": folders.find,
    "nnunet": nnunet.find,
    "msd": msd.find,
    "sppin": sppin.find,
    "npz": npz.find,
}
