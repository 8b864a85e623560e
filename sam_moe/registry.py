"""Cards: what a backbone is, where its weights lie, how its input is made, what was measured; no torch.

A card is `checkpoints/<id>/card.json`. A bad card is an error naming file, field and remedy; none is skipped.
"""

import os
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from sam_moe.config import Record, nearest_first, read_json, write_json
from sam_moe.errors import CardError

FORMAT: Literal[1] = 1
CARD = "card.json"
FOLDER_VARIABLE = "SAM_MOE_CHECKPOINTS"

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Positive = Annotated[int, Field(gt=0)]


class Architecture(Record):
    """The sizes of a SAM-Med3D; the public one has image 128, patch 16, width 768, depth 12."""

    image_size: Positive = Field(description="Edge of the cubic region in voxels.")
    patch_size: Positive = Field(description="Edge of a patch in voxels.")
    embed_dim: Positive = Field(description="Width of the image encoder.")
    depth: Positive = Field(description="Blocks of the image encoder.")
    num_heads: Positive = Field(12, description="Attention heads of the ViT.")
    window_size: int = Field(
        14, ge=0, description="Edge in tokens of the windows that most blocks of the ViT attend within."
    )
    global_attn_indexes: tuple[int, ...] = Field(
        (2, 5, 8, 11), description="Blocks that attend over the whole grid."
    )
    out_channels: Positive = Field(description="Width of the image embedding and of prompt tokens.")
    decoder_mlp_dim: Positive = Field(description="Hidden width of the mask decoder's MLPs.")
    decoder_heads: Positive = Field(8, description="Attention heads of the mask decoder.")
    decoder_depth: Positive = Field(2, description="Two-way blocks of the mask decoder.")
    iou_hidden_dim: Positive = Field(description="Hidden width of the IoU head.")
    corner_embeddings: bool = Field(False, description="Whether the weights know a box's two corners.")
    encoder: Literal["vit", "conv"] = Field("vit", description="SAM-Med3D's ViT, or a convolutional one.")
    conv_widths: tuple[Positive, ...] = Field(
        (),
        description="Channels of the convolutional encoder's finer stages, each of which halves the region.",
    )

    @model_validator(mode="after")
    def _fits(self) -> "Architecture":
        vit = self.encoder == "vit"
        whole = [("image_size", "patch_size"), ("out_channels", "decoder_heads")]
        for size, part in [*whole, ("embed_dim", "num_heads")] if vit else whole:
            if getattr(self, size) % getattr(self, part):
                raise ValueError(
                    f"{size} {getattr(self, size)} must be a multiple of {part} {getattr(self, part)}"
                )
        if vit and any(not 0 <= index < self.depth for index in self.global_attn_indexes):
            raise ValueError(
                f"global_attn_indexes {self.global_attn_indexes} must name blocks from 0 to {self.depth - 1}"
            )
        if not vit and self.patch_size != (halved := 2 ** (len(self.conv_widths) + 1)):
            raise ValueError(
                f"patch_size {self.patch_size} must be {halved}, as the encoder halves the region once for "
                "each of conv_widths and once more"
            )
        return self


class Preprocessing(Record):
    """How a region is cut from a scan: saved with the weights because they work with no other."""

    region_voxels: Positive = Field(description="Edge of the cubic region in voxels.")
    spacing_mm: float = Field(gt=0, description="Voxel edge of the region unless zoomed.")
    normalisation: Literal["positive", "mean"] = Field(
        description="z-score with mean and deviation of the voxels > 0, or of the voxels above the mean."
    )
    zoom_min: float = Field(1.0, gt=0, description="Least factor on spacing_mm.")
    zoom_max: float = Field(8.0, gt=0, description="Greatest factor on spacing_mm.")
    box_fill: float = Field(0.9, gt=0, le=1, description="Share of the region a box may fill unzoomed.")
    click_zoom: float = Field(1.0, gt=0, description="Factor on spacing_mm for a prompt without a box.")
    other_click_zooms: tuple[float, ...] = Field(
        (),
        description="Further factors tried for a first click; the answer that is surest of itself is taken.",
    )
    refine_beyond: float = Field(
        1.0, gt=0, description="Factor on spacing_mm beyond which an answer is refined with finer regions."
    )

    @model_validator(mode="after")
    def _ordered(self) -> "Preprocessing":
        for zoom in (self.click_zoom, *self.other_click_zooms):
            if not self.zoom_min <= zoom <= self.zoom_max:
                raise ValueError(
                    f"click_zoom {zoom} must lie between zoom_min {self.zoom_min} "
                    f"and zoom_max {self.zoom_max}"
                )
        return self


class Weights(Record):
    """A file of weights beside the card."""

    file: str = Field(min_length=1, description="Path relative to the card's folder, inside it.")
    sha256: Sha256 = Field(description="Checksum of the file.")
    size_bytes: Positive = Field(description="Size of the file.")
    dtype: Literal["float32", "float16", "bfloat16"] = Field(description="How the numbers are stored.")

    @field_validator("file")
    @classmethod
    def _inside(cls, file: str) -> str:
        if "\\" in file or PureWindowsPath(file).anchor or ".." in PurePosixPath(file).parts:
            raise ValueError(f"'{file}' leaves the card's folder; give a relative path inside it")
        return file


class Hub(Record):
    """A public file on the Hugging Face hub, converted when first used."""

    repo_id: str = Field(pattern=r"^[\w.-]+/[\w.-]+$", description="owner/name of the repository.")
    filename: str = Field(min_length=1, description="File in the repository.")
    sha256: Sha256 = Field(description="Checksum of that file, before conversion.")
    revision: str = Field("main", min_length=1, description="Commit, tag or branch.")


class Attribution(Record):
    """Something these weights were made from, and under which terms."""

    source: str = Field(min_length=1, description="Name and where it is found.")
    licence: str = Field(min_length=1, description="SPDX identifier, or the terms in words.")
    note: str = Field("", description="What was taken or changed.")


class MadeBy(Record):
    """How to make these weights again."""

    command: str = Field(min_length=1, description="The command line.")
    seeds: tuple[int, ...] = Field((), description="All seeds, in the order of the command.")
    hours: float | None = Field(None, ge=0, description="Wall-clock time.")
    hardware: str = Field("", description="Processor or accelerator, and how many.")
    data: tuple[str, ...] = Field((), description="The sets it saw.")


class Measurement(Record):
    """A figure, with all that is needed to read it."""

    metric: str = Field(min_length=1, description="What was measured, unit included: 'Dice', 'HD95_mm'.")
    value: float = Field(description="The figure.")
    data: str = Field(min_length=1, description="On which cases.")
    protocol: str = Field("", description="Prompts, clicks, aggregation.")
    cases: int | None = Field(None, gt=0, description="How many cases.")


class BackboneCard(Record):
    """A general model: frozen image encoder, prompt encoder and mask decoder."""

    format: Literal[1] = Field(FORMAT, description="Version of this format.")
    id: str = Field(pattern="^[a-z0-9][a-z0-9._-]*$", description="Name of the card and of its folder.")
    kind: Literal["backbone"] = Field("backbone", description="What the card describes.")
    title: str = Field(min_length=1, description="One line for a list.")
    description: str = Field("", description="What it is good at.")
    architecture: Architecture
    preprocessing: Preprocessing
    default_box_strategy: Literal["center", "mask", "corners"] = Field(
        "mask", description="How a box is lowered: a click in its middle, drawn as a mask, or by its corners."
    )
    weights: Weights | None = Field(None, description="The file beside the card, if there is one.")
    hub: Hub | None = Field(None, description="The public file it is converted from.")
    licence: str = Field(min_length=1, description="SPDX identifier of the weights' licence.")
    attribution: tuple[Attribution, ...] = Field((), description="Whom to credit.")
    made_by: MadeBy | None = Field(None, description="How to make the weights again.")
    measured: tuple[Measurement, ...] = Field((), description="What is known of its quality.")
    not_for: str = Field(min_length=1, description="What it must not be used for.")

    @model_validator(mode="after")
    def _agrees(self) -> "BackboneCard":
        if self.weights is None and self.hub is None:
            raise ValueError("a backbone needs 'weights' (a file beside the card) or 'hub' (a public file)")
        if self.preprocessing.region_voxels != self.architecture.image_size:
            raise ValueError(
                f"preprocessing.region_voxels {self.preprocessing.region_voxels} must equal "
                f"architecture.image_size {self.architecture.image_size}"
            )
        if self.default_box_strategy == "corners" and not self.architecture.corner_embeddings:
            raise ValueError(
                "default_box_strategy 'corners' needs weights with corner embeddings; use 'center' or "
                "'mask', or set architecture.corner_embeddings where the weights have them"
            )
        return self


@dataclass(frozen=True)
class Entry:
    """A card and where it lies."""

    card: BackboneCard
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

    def list(self) -> tuple[Entry, ...]:
        """All entries by id.

        Raises:
            CardError: for the first bad card, naming file, field and remedy.
        """
        seen: dict[str, Entry] = {}
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

    def get(self, id: str) -> Entry:
        """The entry with this id.

        Raises:
            CardError: for an unknown id, listing the known ones, the nearest first.
        """
        entries = {entry.card.id: entry for entry in self.list()}
        if id not in entries:
            known = ", ".join(nearest_first(id, entries)) or "none"
            raise CardError(f"{self.folder}: no card with id {id!r}. Known, nearest first: {known}.")
        return entries[id]

    def _entries(self) -> Iterator[Entry]:
        for path in sorted(self.folder.glob(f"*/{CARD}")):
            entry = Entry(read_card(path), path)
            file = entry.weights_path
            if file is not None and not file.resolve().is_relative_to(entry.folder.resolve()):
                raise CardError(
                    f"{path}: weights.file: {file.name!r} links out of the folder; put the file there."
                )
            yield entry


def read_card(path: Path | str) -> BackboneCard:
    """Read and check one card.

    Raises:
        CardError: naming file, field and remedy.
    """
    return read_json(BackboneCard, path, CardError)


def write_card(card: BackboneCard, path: Path | str) -> None:
    """Write a card in one step; `read_card` gives it back equal."""
    write_json(card, path)


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
    beside = Path(__file__).resolve().parents[1] / name
    installed = Path(sysconfig.get_path("data")) / "share" / "sam_moe" / name
    for folder in (beside, installed):
        if folder.is_dir():
            return folder
    raise CardError(f"no {name} at {beside} or {installed}. Reinstall sam-moe{or_else}.")
