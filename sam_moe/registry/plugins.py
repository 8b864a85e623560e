"""Experts of other packages: folders of cards that they name through the entry point `sam_moe.experts`.

In a package's setup.cfg: `[options.entry_points]`, `sam_moe.experts =`, `spine = spine_experts:FOLDER`, where
FOLDER is a path, or a function that returns one, of a folder laid out as a registry.
"""

import os
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from sam_moe.errors import CardError
from sam_moe.registry.folder import Entry, Registry
from sam_moe.registry.reading import Card

GROUP = "sam_moe.experts"


@dataclass(frozen=True)
class Plugin:
    """A package's folder of cards, known by name; nothing of the package runs until `registry` is asked."""

    name: str
    package: str
    _point: EntryPoint

    def registry(self) -> Registry:
        """Import the package's object and open the folder it gives.

        Raises:
            CardError: naming package and entry point, where it cannot be imported or gives no folder.
        """
        where = f"entry point {self.name!r} of {self.package} ({GROUP}, {self._point.value})"
        try:
            found = self._point.load()
            folder = found() if callable(found) else found
        except Exception as error:  # another's code may raise anything
            raise CardError(
                f"{where}: cannot be loaded ({type(error).__name__}: {error}). "
                f"Repair or uninstall {self.package}."
            ) from error
        if not isinstance(folder, str | os.PathLike) or not Path(folder).is_dir():
            raise CardError(
                f"{where}: gives {folder!r}, not the path of a folder of cards. "
                f"Repair or uninstall {self.package}."
            )
        return Registry(Path(folder))


def plugins() -> tuple[Plugin, ...]:
    """What the installed packages offer, by name; none of them is imported."""
    found = [
        Plugin(point.name, point.dist.name if point.dist else "an unknown package", point)
        for point in entry_points(group=GROUP)
    ]
    return tuple(sorted(found, key=lambda plugin: (plugin.name, plugin.package)))


def offered() -> tuple[tuple[Entry[Card], ...], tuple[CardError, ...]]:
    """The cards of the packages that can be read, and what is wrong with the others."""
    entries: list[Entry[Card]] = []
    broken: list[CardError] = []
    for plugin in plugins():
        try:
            entries += plugin.registry().list()
        except CardError as error:
            broken.append(error)
    return tuple(entries), tuple(broken)
