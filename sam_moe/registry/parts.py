"""What cards are made of: sizes, preprocessing, files of weights, credits, what was measured."""

import unicodedata
from copy import deepcopy
from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    Tag,
    field_validator,
    model_validator,
)

from sam_moe.config import Record
from sam_moe.hosts.sam3d.sizes import Sizes

FORMAT: Literal[1] = 1

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Positive = Annotated[int, Field(gt=0)]
# The tags are for errors, which speak of one of them instead of both
RegionVoxels = Annotated[
    Annotated[Positive, Tag("edge")] | Annotated[tuple[Positive, Positive, Positive], Tag("edges")],
    Discriminator(lambda given: "edges" if isinstance(given, tuple | list) else "edge"),
]
CardId = Annotated[str, Field(pattern="^[a-z0-9][a-z0-9._-]*$", max_length=100)]

CARD = "card.json"
_LONGEST = 255  # bytes that file systems take for a name


class _Stated:
    """Demands the sizes of `Sizes.stated` of a card: their defaults are for code, not for files."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        made: dict[str, Any] = deepcopy(dict(handler.resolve_ref_schema(handler(source))))
        made.pop("ref", None)
        for size in made["schema"]["fields"]:
            if size["name"] in Sizes.stated():
                size["schema"] = size["schema"]["schema"]
        return made


# The sizes of a SAM-Med3D; the public one has image 128, patch 16, width 768, depth 12.
Architecture = Annotated[Sizes, _Stated(), AfterValidator(Sizes.check)]


class Preprocessing(Record):
    """How a region is cut from a scan: saved with the weights because they work with no other."""

    region_voxels: RegionVoxels = Field(
        description="Edges of the region in voxels; one number for a cube, 1 across a slice."
    )
    spacing_mm: float = Field(gt=0, description="Voxel edge of the region unless zoomed.")
    normalisation: Literal["positive", "mean"] = Field(
        description="z-score with mean and deviation of the voxels > 0, or of the voxels above the mean."
    )
    zoom_min: float = Field(1.0, gt=0, description="Least factor on spacing_mm.")
    zoom_max: float = Field(8.0, gt=0, description="Greatest factor on spacing_mm.")
    box_fill: float = Field(0.9, gt=0, le=1, description="Share of the region a box may fill unzoomed.")
    click_zoom: float = Field(1.0, gt=0, description="Factor on spacing_mm for a prompt without a box.")
    refine_beyond: float = Field(
        1.0, gt=0, description="Factor on spacing_mm beyond which an answer is refined with finer regions."
    )

    @property
    def region_shape(self) -> tuple[int, int, int]:
        """Voxels of the region along x, y and z of the world."""
        return (self.region_voxels,) * 3 if isinstance(self.region_voxels, int) else self.region_voxels

    @model_validator(mode="after")
    def _ordered(self) -> "Preprocessing":
        if not self.zoom_min <= self.click_zoom <= self.zoom_max:
            raise ValueError(
                f"click_zoom {self.click_zoom} must lie between zoom_min {self.zoom_min} "
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
            raise ValueError(f"{file!r} leaves the card's folder; give a relative path inside it")
        # One spelling a file, so that two names that differ are two files
        if not file.isprintable() or any(
            part.startswith(".") or not 0 < len(part.encode()) <= _LONGEST for part in file.split("/")
        ):
            raise ValueError(
                f"{file[:80]!r} is not a plain name; give one without './', '//', leading dots and control "
                f"characters, and with at most {_LONGEST} bytes"
            )
        if same_file(file, CARD):
            raise ValueError(f"{file!r} is the card itself; give the file of weights")
        return file


def same_file(one: str, other: str) -> bool:
    """Whether two plain names are one file, also where neither case nor the spelling of accents counts."""
    one, other = (unicodedata.normalize("NFC", name).casefold() for name in (one, other))
    return one == other


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
