"""A checkpoint of anyone's becomes weights with a card: what `sam-moe convert` does."""

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import ValidationError
from torch import Tensor

from sam_moe.config import explain
from sam_moe.errors import CardError, FileError, WeightsError
from sam_moe.files import check_writable, make_folder, new_folder, replacing, sha256_of, sweep, withdraw
from sam_moe.hosts.sam3d.loading import check_state, read_sizes
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.registry import CARD, BackboneCard, Registry, Weights, read_card, write_card
from sam_moe.registry.finding import user_folder
from sam_moe.weights.files import WEIGHTS, read_state, save_weights
from sam_moe.weights.report import KeyReport

# New weights, while the old ones still serve.
BESIDE = "model.new.safetensors"

Dtype = Literal["float32", "float16", "bfloat16"]


@dataclass(frozen=True)
class Conversion:
    """What was made of a checkpoint."""

    card: BackboneCard
    path: Path
    parameters: int
    report: KeyReport

    def __str__(self) -> str:
        assert self.card.weights is not None
        return (
            f"{self.card.id}: {self.report}; {self.parameters:,} numbers in {self.card.weights.dtype}, "
            f"{self.card.weights.size_bytes / 1e6:.1f} MB; boxes by '{self.card.default_box_strategy}'; "
            f"{self.path}"
        )


def convert(
    source: Path | str,
    folder: Path | str | None = None,
    model_id: str | None = None,
    *,
    dtype: Dtype = "float32",
    card: BackboneCard | None = None,
    force: bool = False,
) -> Conversion:
    """Write `<folder>/<model_id>/` with the checkpoint's tensors as safetensors and a card.

    A file that a shipped card names by its SHA-256 gets that card's id, words and licence; any other is taken
    to want the public model's preprocessing (1.5 mm, z-score over voxels > 0). Equal files give equal bytes.

    Args:
        source: a `.pth`, `.pt` or `.safetensors` checkpoint.
        folder: a folder of cards; by default the user's, where `sam_moe.load` looks.
        model_id: by default made of the file's name.
        dtype: how to store the numbers; half of fp32 loses digits and is refused where it would overflow.
        card: the card to fill in, where the caller knows it.
        force: replace what is there.

    Raises:
        WeightsError: for a file that does not fit, with the report of what is missing or too much.
        FileError: where something is already there, or cannot be written.
    """
    source = Path(source)
    folder = user_folder() if folder is None else Path(folder)
    check_writable(folder)
    state = read_state(source)
    checksum = sha256_of(source, WeightsError)
    card = _published(checksum) if card is None else card
    model_id = model_id or (card.id if card else _id_of(source))
    if card is None:
        sizes = read_sizes(state, str(source))
        card = _new_card(model_id, source, sizes, dtype)
    else:
        sizes = card.architecture
    card = _checked({**card.model_dump(), "id": model_id}, source)
    report = check_state(state, sizes, str(source))
    state = _cast(state, dtype, source)
    target = folder / model_id
    sweep(folder)
    _clear(target)
    taken = [name for name in (CARD, WEIGHTS) if (target / name).exists()]
    if taken and not force:
        raise FileError(f"{target}: already has {' and '.join(taken)}. Choose another id, or force it.")
    made = _make_folders(folder)
    try:
        written = _write(state, target, card, dtype, checksum)
    except BaseException:
        for empty in made:
            if empty.is_dir() and not any(empty.iterdir()):
                empty.rmdir()
        raise
    parameters = sum(tensor.numel() for tensor in state.values())
    return Conversion(written, target / CARD, parameters, report)


def _published(checksum: str) -> BackboneCard | None:
    """The shipped card that names this very file."""
    cards = (entry.card for entry in Registry().backbones())
    return next((card for card in cards if card.hub and card.hub.sha256 == checksum), None)


def _new_card(model_id: str, source: Path, sizes: Sizes, dtype: Dtype) -> BackboneCard:
    data = {
        "id": model_id,
        "title": f"SAM-Med3D from {source.name}",
        "description": "Converted from a checkpoint; its preprocessing is taken to be the public model's.",
        "architecture": asdict(sizes),
        "preprocessing": {
            "region_voxels": sizes.image_size,
            "spacing_mm": 1.5,
            "normalisation": "positive",
        },
        "default_box_strategy": "corners" if sizes.corner_embeddings else "mask",
        "weights": Weights(file=WEIGHTS, sha256="0" * 64, size_bytes=1, dtype=dtype),
        "licence": "unknown: ask whoever made the weights",
        "not_for": "Clinical use. Nothing was measured for this card.",
    }
    return _checked(data, source)


def _checked(data: Mapping[str, object], source: Path) -> BackboneCard:
    try:
        return BackboneCard.model_validate(data)
    except ValidationError as error:
        raise CardError(explain(error, BackboneCard, f"the card for {source}")) from error


def _id_of(source: Path) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", source.stem.lower()).strip("._-") or "converted"


def _cast(state: Mapping[str, Tensor], dtype: Dtype, source: Path) -> dict[str, Tensor]:
    kind: torch.dtype = getattr(torch, dtype)
    cast = {name: tensor.to(kind) for name, tensor in state.items()}
    lost = [name for name, t in cast.items() if t.dtype != state[name].dtype and not t.isfinite().all()]
    if lost:
        raise WeightsError(
            f"{source}: {', '.join(lost[:5])} would overflow in {dtype}. Store bfloat16 or float32 instead."
        )
    return cast


def _write(
    state: Mapping[str, Tensor], target: Path, card: BackboneCard, dtype: Dtype, checksum: str
) -> BackboneCard:
    """Write a model so that whoever reads meets it whole, the one before it or none, whenever this is killed.

    A new one comes as a whole folder. Of one that takes another's place the weights come beside the old
    ones first, and the card, which names one of the two files, decides in one step which of them it is.
    """

    def save(folder: Path, name: str) -> BackboneCard:
        path = folder / name
        save_weights(state, path, {"source_sha256": checksum})
        record = Weights(
            file=name, sha256=sha256_of(path, WeightsError), size_bytes=path.stat().st_size, dtype=dtype
        )
        return card.model_copy(update={"weights": record})

    if not os.path.lexists(target):
        with new_folder(target) as new:
            written = save(new, WEIGHTS)
            write_card(written, new / CARD)
        return written
    before = _weights_there(target)
    try:
        if before is not None and before.file == WEIGHTS:
            beside = save(target, BESIDE)
            assert beside.weights is not None  # just put there
            write_card(beside, target / CARD)
            with replacing(target / WEIGHTS) as again:
                _link(target / BESIDE, again)
            record = beside.weights.model_copy(update={"file": WEIGHTS})
            written = beside.model_copy(update={"weights": record})
        else:
            written = save(target, WEIGHTS)
        write_card(written, target / CARD)
    finally:
        _clear(target)
    return written


def _link(file: Path, again: Path) -> None:
    """The same file under a second name; a copy where the file system has no such links."""
    try:
        again.hardlink_to(file)
    except OSError:
        shutil.copyfile(file, again)


def _weights_there(target: Path) -> Weights | None:
    """What a model's folder names as its weights; None without a card that can be read."""
    try:
        return read_card(target / CARD).weights
    except CardError:
        return None


def _clear(target: Path) -> None:
    """Remove weights that a conversion, or one that was killed, left without a card that names them."""
    sweep(target)
    if (kept := _weights_there(target)) is not None and kept.file in (WEIGHTS, BESIDE):
        withdraw(target / (BESIDE if kept.file == WEIGHTS else WEIGHTS))


def _make_folders(target: Path) -> list[Path]:
    """Make a folder; returns what had to be made, innermost first."""
    made = [place for place in (target, *target.parents) if not place.exists()]
    make_folder(target)
    return made
