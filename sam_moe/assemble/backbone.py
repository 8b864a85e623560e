"""From a card to a frozen model: find the card, see that the weights are the card's, load them."""

import dataclasses
import logging
from functools import lru_cache
from pathlib import Path

import torch

from sam_moe.assemble.convert import convert, user_folder
from sam_moe.assemble.hub import fetch
from sam_moe.config import nearest_first
from sam_moe.errors import CardError, ConfigError, WeightsError
from sam_moe.registry import (
    CARD,
    Architecture,
    BackboneCard,
    Card,
    Entry,
    ExpertCard,
    GateCard,
    Registry,
    Weights,
    default_folder,
    read_card,
    read_entry,
)
from sam_moe.sam3d.model import SamMed3D
from sam_moe.sam3d.sizes import Sizes
from sam_moe.sam3d.weights import fingerprint, load_model, sha256_of

logger = logging.getLogger(__name__)

NAMES = {"backbone": "a general model", "expert": "an expert", "gate": "a gate"}


def find_entry(model: str | Path, folder: Path | str | None = None) -> Entry[BackboneCard]:
    """Find a backbone's card, as `find_card` does.

    Raises:
        CardError: naming the known ids, the nearest first; or for another kind of card.
    """
    return as_backbone(find_card(model, folder, (BackboneCard,)))


def find_card(
    model: str | Path,
    folder: Path | str | None = None,
    offered: tuple[type[Card], ...] = (BackboneCard, ExpertCard, GateCard),
) -> Entry[Card]:
    """Find a card by id, or read it from the path of a card or of its folder.

    An id is looked up in `folder`; without one among the cards that ship, then in the user's folder.
    `offered` are the kinds that an error names; any kind is found.

    Raises:
        CardError: naming the known ids, the nearest first.
    """
    if isinstance(model, Path) or "/" in model or model.endswith((".json", ".pth", ".pt", ".safetensors")):
        return _entry_at(Path(model).expanduser())
    folders = [Path(folder)] if folder is not None else [default_folder()]
    if folder is None and user_folder().is_dir():
        folders.append(user_folder())
    known: dict[str, Entry[Card]] = {}
    for place in folders:
        known = {entry.card.id: entry for entry in Registry(place).list()} | known
        if model in known:
            return known[model]
    models = [id for id, entry in known.items() if isinstance(entry.card, offered)]
    told = {id: known[id].card.kind for id in nearest_first(model, models)}
    several = len(offered) > 1  # else all are of the kind that was asked for
    ids = ", ".join(f"{id} ({NAMES[kind]})" if several else id for id, kind in told.items()) or "none"
    raise CardError(
        f"no model with id {model!r} in {' or '.join(map(str, folders))}. Known, nearest first: {ids}."
    )


def load_backbone(entry: Entry[BackboneCard]) -> SamMed3D:
    """Load the frozen model of a card, fetching and converting a public file on first use.

    Raises:
        WeightsError: where the file is missing, is not the card's or does not fit the architecture.
    """
    if entry.card.weights is None:
        entry = _converted(entry)
    assert entry.card.weights is not None  # a card has weights or a hub, and what was converted has weights
    path = entry.folder / entry.card.weights.file
    check_file(path, entry.card.weights, entry.path)
    return load_model(path, sizes_of(entry.card.architecture))


@dataclasses.dataclass(frozen=True)
class LoadedBase:
    """A backbone, frozen, with its card and the fingerprint that experts and gates know it by."""

    entry: Entry[BackboneCard]
    model: SamMed3D
    sha256: str


def load_base(model: str | Path, loaded: SamMed3D | None = None) -> LoadedBase:
    """Find and load a backbone, or take one that the caller has loaded, and fingerprint it.

    Raises:
        CardError: as `find_entry`.
        WeightsError: as `load_backbone`.
    """
    entry = find_entry(model)
    backbone = load_backbone(entry) if loaded is None else loaded
    return LoadedBase(entry, backbone, fingerprint(backbone))


def sizes_of(architecture: Architecture) -> Sizes:
    """A card's sizes as the network takes them: the same fields, one record without torch and one with."""
    return Sizes(**architecture.model_dump())


def choose_device(name: str = "auto") -> torch.device:
    """The device with this name; "auto" is CUDA where there is one, else the CPU.

    Raises:
        ConfigError: for a device that torch does not know or this machine does not have.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts
        reason = str(error).splitlines()[0].rstrip(".")
        raise ConfigError(f"device {name!r} cannot be used ({reason}). Use 'auto' or 'cpu'.") from error
    return device


def _entry_at(path: Path) -> Entry[Card]:
    card_path = path / CARD if path.is_dir() else path
    if card_path.suffix != ".json":
        raise CardError(
            f"{path}: is not a card. Give an id, a {CARD} or its folder; for a checkpoint, first run "
            f"`sam-moe convert {path}`."
        )
    if path.is_dir() and not card_path.is_file():
        raise CardError(
            f"{path}: has no {CARD}. Give the folder of one model, or an id and folder={str(path)!r}."
        )
    return read_entry(card_path)


def as_backbone(entry: Entry[Card]) -> Entry[BackboneCard]:
    """The entry, if it is a backbone's.

    Raises:
        CardError: for an expert or a gate, naming the model it works on.
    """
    card = entry.card
    if not isinstance(card, BackboneCard):
        raise CardError(
            f"{entry.path}: {card.id!r} is {NAMES[card.kind]}, no general model. Give the one that it works "
            f"on: {card.base.id!r}."
        )
    return Entry(card, entry.path)


def _converted(entry: Entry[BackboneCard]) -> Entry[BackboneCard]:
    """The card of a public file as it lies converted in the user's folder; fetched where it does not."""
    assert entry.card.hub is not None
    path = user_folder() / entry.card.id / CARD
    if not path.is_file():
        source = fetch(entry.card.hub)
        logger.info("converting %s once; the result is kept in %s", source, path.parent)
        convert(source, user_folder(), card=entry.card, force=True)
    kept = as_backbone(Entry(read_card(path), path)).card
    if kept.hub != entry.card.hub or kept.architecture != entry.card.architecture:
        raise CardError(
            f"{path}: was not made from the file that {entry.path} names. Remove {path.parent}, or give that "
            "model another id and rename its folder to match."
        )
    # The shipped card may have been corrected since: only the weights are taken from the kept one.
    return dataclasses.replace(entry, card=entry.card.model_copy(update={"weights": kept.weights}), path=path)


def check_file(path: Path, weights: Weights, card: Path) -> None:
    """See that a file is the one that a card names.

    Raises:
        WeightsError: where it is missing, or has another size or SHA-256.
    """
    try:
        stat = path.stat()
    except FileNotFoundError as error:
        raise WeightsError(
            f"{path}: no such file, though {card} names it. Restore it (git lfs pull?), or convert it again."
        ) from error
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
    return sha256_of(path)
