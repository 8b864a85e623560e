"""What a recipe says of the slices that are learnt from: their sources, how tiles are drawn and disturbed."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from sam_moe.cases.source import Source
from sam_moe.config import Settings

Part = Literal["train", "validation"]
PARTS: tuple[Part, ...] = ("train", "validation")
_Share = Annotated[float, Field(ge=0, le=1)]


class LabelledSource(Source):
    """One folder of labelled cases, and what it means where a label map lacks one of its structures.

    `labels` renames: the data set's names, each with the folder's own names or values; left empty, both are
    called alike. Paths of splits are from where you stand.
    """

    missing: Literal["absent", "uncontoured"] = Field(
        "absent",
        description="What a case's label map without a structure means: it is not in the scan, or no one "
        "drew it. One that the folder's table does not name is uncontoured in all its cases.",
    )
    series: str = Field("", description="The series to take where a case has several; empty for the first.")


class SetSources(Settings):
    """Where the cases of one data set are."""

    train: tuple[LabelledSource, ...] = Field(min_length=1, description="What is learnt from.")
    validation: tuple[LabelledSource, ...] = Field(
        (), description="What decides which weights are kept; nothing is learnt from it."
    )

    def of(self, part: Part) -> tuple[LabelledSource, ...]:
        """The sources of one part."""
        return self.train if part == "train" else self.validation


class SliceData(Settings):
    """The labelled scans of all data sets."""

    folder: Path = Field(description="The folder that roots are relative to; from where you stand.")
    sets: dict[str, SetSources] = Field(min_length=1, description="Sources by the id of a card's data set.")


class Augmentation(Settings):
    """How a drawn tile is turned, scaled and disturbed; never mirrored, as that would swap left and right.

    Intensities count in deviations of the scan's own prepared numbers, from its least.
    """

    on: bool = Field(True, description="Whether tiles are changed at all.")
    moved: _Share = Field(0.8, description="Share of the tiles that are turned and scaled.")
    rotation_deg: float = Field(15.0, ge=0, le=90, description="Turned by up to so much, either way.")
    zoom: tuple[float, float] = Field((0.85, 1.2), description="Shown smaller or larger, from and to.")
    contrast: _Share = Field(0.3, description="Share of the tiles with another contrast.")
    gamma: tuple[float, float] = Field((0.75, 1.35), description="Exponents of another contrast.")
    brightness: _Share = Field(0.3, description="Share of the tiles made brighter or darker.")
    factor: float = Field(0.15, ge=0, lt=1, description="Multiplied by 1 and up to so much more or less.")
    offset: float = Field(0.1, ge=0, description="Moved by up to so many deviations.")
    noise: _Share = Field(0.3, description="Share of the tiles with noise.")
    noise_deviation: float = Field(0.15, ge=0, description="Noise of up to so many deviations.")

    @model_validator(mode="after")
    def _ordered(self) -> "Augmentation":
        for name, (low, high) in (("zoom", self.zoom), ("gamma", self.gamma)):
            if not 0 < low <= high:
                raise ValueError(f"{name}: {low} to {high}; expected two positive numbers, the lower first")
        return self


class Drawing(Settings):
    """How tiles are drawn."""

    tile: int = Field(128, gt=0, description="Pixels along either side of a tile.")
    organ_share: _Share = Field(
        0.75, description="Share of the tiles that show a drawn structure; the others are of any place."
    )
    weights: dict[str, Annotated[float, Field(ge=0)]] = Field(
        {}, description="How often a data set is drawn, relative to the others; 1 where it is not named."
    )
    augmentation: Augmentation = Field(Augmentation(), description="What becomes of a tile.")

    def of_one_set(self, chosen: str, sets: tuple[str, ...]) -> "Drawing":
        """The same drawing with tiles of one data set alone: the others get the weight 0."""
        return self.model_copy(update={"weights": {name: float(name == chosen) for name in sets}})
