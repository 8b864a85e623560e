"""A registry is a folder of cards, `<id>/card.json`; a bad card is an error, none is skipped.

Folders whose name begins with a dot are no cards: what is being written, and what was removed.
"""

import errno
import os
import sysconfig
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Generic, TypeVar

from sam_moe.config import nearest_first
from sam_moe.errors import CardError, WeightsError
from sam_moe.files import check_ordinary, sha256_of, unreadable
from sam_moe.registry.automatic import AutomaticCard
from sam_moe.registry.backbone import BackboneCard
from sam_moe.registry.expert import ExpertCard
from sam_moe.registry.gate import GateCard
from sam_moe.registry.parts import CARD, Weights
from sam_moe.registry.reading import Card, read_card

FOLDER_VARIABLE = "SAM_MOE_CHECKPOINTS"

C = TypeVar("C", bound=Card, covariant=True)
K = TypeVar("K", BackboneCard, ExpertCard, GateCard, AutomaticCard)


@dataclass(frozen=True)
class Entry(Generic[C]):
    """A card and where it lies."""

    card: C
    path: Path

    @property
    def folder(self) -> Path:
        """The folder of the card; paths in the card are relative to it."""
        return self.path.parent

    @property
    def weights_path(self) -> Path | None:
        """The file of weights, whether or not it is there; None where only the hub has one."""
        return self.folder / self.card.weights.file if self.card.weights else None


class Registry:
    """A folder of cards, read anew at every question."""

    def __init__(self, folder: Path | str | None = None) -> None:
        self.folder = default_folder() if folder is None else Path(folder)
        if not self.folder.is_dir():
            raise CardError(f"{self.folder}: no such folder. A registry is a folder with <id>/{CARD} files.")

    def list(self) -> tuple[Entry[Card], ...]:
        """All entries by id.

        Raises:
            CardError: for the first bad card, naming file, field and remedy.
        """
        seen: dict[str, Entry[Card]] = {}
        for entry in self._entries():
            if other := seen.get(entry.card.id):
                raise CardError(
                    f"{entry.path}: id: {entry.card.id!r} is already taken by {other.path}; give one of them "
                    "another id and rename its folder to match."
                )
            seen[entry.card.id] = entry
        for entry in seen.values():
            if entry.folder.name != entry.card.id:
                raise CardError(
                    f"{entry.path}: id: {entry.card.id!r} is not its folder's name {entry.folder.name!r}; "
                    "make them equal."
                )
        return tuple(seen[key] for key in sorted(seen))

    def backbones(self) -> tuple[Entry[BackboneCard], ...]:
        """The entries of general models."""
        return _of(BackboneCard, self.list())

    def experts(self) -> tuple[Entry[ExpertCard], ...]:
        """The entries of experts."""
        return _of(ExpertCard, self.list())

    def gates(self) -> tuple[Entry[GateCard], ...]:
        """The entries of gates."""
        return _of(GateCard, self.list())

    def automatics(self) -> tuple[Entry[AutomaticCard], ...]:
        """The entries of automatic models."""
        return _of(AutomaticCard, self.list())

    def get(self, id: str) -> Entry[Card]:
        """The entry with this id.

        Raises:
            CardError: for an unknown id, listing the known ones, the nearest first.
        """
        entries = {entry.card.id: entry for entry in self.list()}
        if id not in entries:
            known = ", ".join(nearest_first(id, entries)) or "none"
            raise CardError(f"{self.folder}: no card with id {id!r}. Known, nearest first: {known}.")
        return entries[id]

    def _entries(self) -> Iterator[Entry[Card]]:
        try:
            names = sorted(f.name for f in self.folder.iterdir() if not f.name.startswith("."))
        except OSError as error:
            raise CardError(unreadable(self.folder, error)) from error
        for path in (self.folder / name / CARD for name in names):
            try:
                path.lstat()
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                    continue  # a file, an empty folder, a link to nowhere
                raise CardError(unreadable(path, error)) from error
            yield read_entry(path)


def read_entry(path: Path | str) -> Entry[Card]:
    """Read one card where it lies, and see that the files it names lie in its folder.

    Raises:
        CardError: naming file, field and remedy.
    """
    path = Path(path)
    entry = Entry(read_card(path), path)
    for field in ("weights", "feature_bank"):
        named = getattr(entry.card, field, None)
        if isinstance(named, Weights):
            file = entry.folder / named.file
            try:
                with suppress(FileNotFoundError):  # seen to when it is read
                    file.stat()
                inside = file.resolve().is_relative_to(entry.folder.resolve())
            except (OSError, RuntimeError, ValueError) as error:  # in Python < 3.13 a loop is a RuntimeError
                raise CardError(f"{path}: {field}.file: {named.file!r}: {unreadable(file, error)}") from error
            if not inside:
                raise CardError(
                    f"{path}: {field}.file: {named.file!r} links out of the folder; put the file there."
                )
    return entry


def check_weights(path: Path, weights: Weights, card: Path) -> None:
    """See that a file is the one that a card names.

    Raises:
        WeightsError: where it is missing, or has another size or SHA-256.
    """
    try:
        stat = path.stat()
        check_ordinary(path, stat, WeightsError)
    except FileNotFoundError as error:
        raise WeightsError(
            f"{path}: no such file, though {card} names it. Restore it (git lfs pull?), or convert it again."
        ) from error
    except (OSError, ValueError) as error:
        raise WeightsError(unreadable(path, error)) from error
    if stat.st_size == weights.size_bytes:
        found = _known_sha256(str(path.resolve()), stat.st_mtime_ns, stat.st_size)
        if found == weights.sha256:
            return
        difference = f"has SHA-256 {found}, the card says {weights.sha256}"
    else:
        difference = f"has {stat.st_size} bytes, the card says {weights.size_bytes}"
    raise WeightsError(
        f"{path}: {difference}. The file was changed or damaged: restore it; if it was converted, remove "
        f"{path.parent} and convert it again."
    )


@lru_cache(maxsize=64)
def _known_sha256(path: str, mtime_ns: int, size: int) -> str:
    """Checksums in memory only: a file is read again when its time or size changes."""
    return sha256_of(path, WeightsError)


def default_folder() -> Path:
    """The cards that ship: $SAM_MOE_CHECKPOINTS, else beside the sources, else where a wheel put them."""
    if chosen := os.environ.get(FOLDER_VARIABLE):
        if not Path(chosen).is_dir():
            raise CardError(
                f"{FOLDER_VARIABLE}={chosen}: no such folder. Name a folder of cards, or unset it."
            )
        return Path(chosen)
    return shipped("checkpoints", f" or set {FOLDER_VARIABLE}")


def shipped(name: str, or_else: str = "") -> Path:
    """A folder that ships: beside the sources, else where a wheel put it."""
    beside = Path(__file__).resolve().parents[2] / name
    installed = Path(sysconfig.get_path("data")) / "share" / "sam_moe" / name
    for folder in (beside, installed):
        if folder.is_dir():
            return folder
    raise CardError(f"no {name} at {beside} or {installed}. Reinstall sam-moe{or_else}.")


def _of(kind: type[K], entries: tuple[Entry[Card], ...]) -> tuple[Entry[K], ...]:
    return tuple(Entry(entry.card, entry.path) for entry in entries if isinstance(entry.card, kind))
