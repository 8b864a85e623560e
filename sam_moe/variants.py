"""What can be chosen by name: a room's own modules, one a variant, and other packages' by entry points.

Names are known without importing anything: a variant's name is its file's, or its entry point's. So
adding one is adding one file, here or in a package of one's own, and cards, recipes and commands know it.
"""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from sam_moe.errors import ConfigError
from sam_moe.explaining import nearest_first


@dataclass(frozen=True)
class Variants:
    """The variants of one thing.

    Args:
        what: the thing in errors, such as "selection rule".
        room: the package whose modules are the variants; `top_k.py` holds class `TopK`, or `attribute`.
        group: the entry points by which other packages offer theirs, such as "sam_moe.rules".
        attribute: what every module holds, where that is not a class named as its file.
    """

    what: str
    room: str
    group: str
    attribute: str = ""

    @cached_property
    def own(self) -> tuple[str, ...]:
        """The names of the room's modules, sorted; those that begin with an underscore are none."""
        spec = find_spec(self.room)
        assert spec is not None and spec.submodule_search_locations is not None, self.room
        found = (module.name for module in iter_modules(spec.submodule_search_locations))
        return tuple(sorted(name for name in found if not name.startswith("_")))

    @property
    def names(self) -> tuple[str, ...]:
        """All names that can be chosen: the room's own, then other packages', each sorted."""
        return (*self.own, *sorted(set(_offered(self.group, _places())) - set(self.own)))

    def check(self, name: str) -> str:
        """The name, if it is one.

        Raises:
            ConfigError: for another, the known ones listed, the nearest first.
        """
        if name not in self.own and name not in self.names:
            known = ", ".join(nearest_first(name, self.names))
            raise ConfigError(f"{self.what} {name!r} is unknown. Known, nearest first: {known}.")
        return name

    def load(self, name: str) -> Any:
        """Import a variant.

        Raises:
            ConfigError: for an unknown name, one that two packages offer, or another package's variant that
                cannot be imported.
        """
        self.check(name)
        if name in self.own:
            return getattr(import_module(f"{self.room}.{name}"), self.attribute or _class_name(name))
        points = _offered(self.group, _places())[name]
        packages = sorted({_package(point) for point in points})
        if len(packages) > 1:
            raise ConfigError(
                f"{self.what} {name!r} is offered by {' and '.join(packages)}. Uninstall one of them."
            )
        point, package = points[0], packages[0]
        try:
            return point.load()
        except Exception as error:  # another's code may raise anything
            raise ConfigError(
                f"{self.what} {name!r} of {package} (entry point {self.group}, {point.value}) cannot be "
                f"loaded: {type(error).__name__}: {error}. Repair or uninstall {package}."
            ) from error


def _places() -> tuple[tuple[str, int], ...]:
    """Where installed packages lie, and when something was put there or taken away."""
    return tuple((place, _changed(place)) for place in sys.path)


def _changed(place: str) -> int:
    try:
        return Path(place).stat().st_mtime_ns
    except (OSError, ValueError):
        return 0


@lru_cache
def _offered(group: str, places: tuple[tuple[str, int], ...]) -> Mapping[str, tuple[EntryPoint, ...]]:
    """Other packages' entry points by name, of all that offer it; reading all packages' takes some 10 ms."""
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for point in entry_points(group=group):
        found[point.name] = (*found.get(point.name, ()), point)
    return found


def checked(variants: Variants, name: str) -> str:
    """The name of a variant, for pydantic's checks.

    Raises:
        ValueError: for an unknown one, the known ones listed, the nearest first.
    """
    try:
        return variants.check(name)
    except ConfigError as error:
        raise ValueError(str(error)) from error


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "an unknown package"


def _class_name(name: str) -> str:
    """`top_k` is `TopK`."""
    return re.sub(r"(?:^|_)(\w)", lambda match: match[1].upper(), name)
