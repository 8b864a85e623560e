"""From a card to a frozen model: see that the weights are the card's, and load them."""

import dataclasses
import logging
from pathlib import Path

from sam_moe.errors import CardError, FileError
from sam_moe.files import check_writable
from sam_moe.hosts.sam3d.loading import load_model
from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.registry import CARD, BackboneCard, Entry, check_weights, read_card
from sam_moe.registry.finding import as_backbone, find_backbone, user_folder
from sam_moe.systems.sam_med3d_moe.cards.convert import convert
from sam_moe.weights.checksums import fingerprint
from sam_moe.weights.hub import fetch

logger = logging.getLogger(__name__)


def load_backbone(entry: Entry[BackboneCard]) -> SamMed3D:
    """Load the frozen model of a card, fetching and converting a public file on first use.

    Raises:
        WeightsError: where the file is missing, is not the card's or does not fit the architecture.
    """
    if entry.card.weights is None:
        entry = _converted(entry)
    assert entry.card.weights is not None  # a card has weights or a hub, and what was converted has weights
    path = entry.folder / entry.card.weights.file
    check_weights(path, entry.card.weights, entry.path)
    return load_model(path, entry.card.architecture)


@dataclasses.dataclass(frozen=True)
class LoadedBase:
    """A backbone, frozen, with its card and the fingerprint that experts and gates know it by."""

    entry: Entry[BackboneCard]
    model: SamMed3D
    sha256: str


def load_base(model: str | Path, loaded: SamMed3D | None = None) -> LoadedBase:
    """Find and load a backbone, or take one that the caller has loaded, and fingerprint it.

    Raises:
        CardError: as `find_backbone`.
        WeightsError: as `load_backbone`.
    """
    entry = find_backbone(model)
    backbone = load_backbone(entry) if loaded is None else loaded
    return LoadedBase(entry, backbone, fingerprint(backbone))


def _converted(entry: Entry[BackboneCard]) -> Entry[BackboneCard]:
    """The card of a public file as it lies converted in the user's folder; fetched where it does not."""
    hub = entry.card.hub
    assert hub is not None
    path = user_folder() / entry.card.id / CARD
    if not path.is_file():
        check_writable(user_folder())  # before the download, not after it
        source = fetch(hub.repo_id, hub.filename, hub.revision, hub.sha256)
        logger.info("converting %s once; the result is kept in %s", source, path.parent)
        try:
            convert(source, user_folder(), card=entry.card, force=True)
        except FileError:
            if not path.is_file():  # else another process has converted it meanwhile
                raise
    kept = as_backbone(Entry(read_card(path), path)).card
    if kept.hub != entry.card.hub or kept.architecture != entry.card.architecture:
        raise CardError(
            f"{path}: was not made from the file that {entry.path} names. Remove {path.parent}, or give that "
            "model another id and rename its folder to match."
        )
    # The shipped card may have been corrected since: only the weights are taken from the kept one.
    return dataclasses.replace(entry, card=entry.card.model_copy(update={"weights": kept.weights}), path=path)
