"""The card of a general model."""

from typing import Literal

from pydantic import Field, model_validator

from sam_moe.config import Record
from sam_moe.registry.parts import (
    FORMAT,
    Architecture,
    Attribution,
    CardId,
    Hub,
    MadeBy,
    Measurement,
    Preprocessing,
    Weights,
)
from sam_moe.registry.system import SystemField


class BackboneCard(Record):
    """A general model: frozen image encoder, prompt encoder and mask decoder."""

    format: Literal[1] = Field(FORMAT, description="Version of this format.")
    id: CardId = Field(description="Name of the card and of its folder.")
    system: SystemField = None
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
    attribution: tuple[Attribution, ...] = Field((), description="Sources to credit.")
    made_by: MadeBy | None = Field(None, description="How to make the weights again.")
    measured: tuple[Measurement, ...] = Field((), description="What is known of its quality.")
    not_for: str = Field(min_length=1, description="What it must not be used for.")

    @model_validator(mode="after")
    def _agrees(self) -> "BackboneCard":
        if self.weights is None and self.hub is None:
            raise ValueError("a backbone needs 'weights' (a file beside the card) or 'hub' (a public file)")
        if set(self.preprocessing.region_shape) != {self.architecture.image_size}:
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
