"""A checkpoint of anyone's becomes weights with a card: what `sam-moe convert` does."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from sam_moe.config import explain
from sam_moe.errors import CardError, WeightsError
from sam_moe.files import check_writable, sha256_of
from sam_moe.hosts.sam3d.loading import check_state, read_sizes
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.registry import CARD, BackboneCard, Registry, Weights, write_card
from sam_moe.registry.finding import user_folder
from sam_moe.registry.reading import weights_named_in
from sam_moe.weights.files import WEIGHTS, read_state
from sam_moe.weights.placing import CardFile, Stored, cast, id_of, place
from sam_moe.weights.report import KeyReport

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
    model_id = model_id or (card.id if card else id_of(source))
    if card is None:
        sizes = read_sizes(state, str(source))
        card = _new_card(model_id, source, sizes, dtype)
    else:
        sizes = card.architecture
    card = _checked({**card.model_dump(), "id": model_id}, source)
    report = check_state(state, sizes, str(source))
    target = folder / model_id
    written = place(
        cast(state, dtype, source),
        target,
        CardFile(CARD, lambda stored, path: write_card(_naming(card, stored, dtype), path), weights_named_in),
        {"source_sha256": checksum},
        force,
    )
    parameters = sum(tensor.numel() for tensor in state.values())
    return Conversion(_naming(card, written, dtype), target / CARD, parameters, report)


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


def _naming(card: BackboneCard, stored: Stored, dtype: Dtype) -> BackboneCard:
    return card.model_copy(update={"weights": Weights(**asdict(stored), dtype=dtype)})
