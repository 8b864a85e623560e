"""How large a convolutional U-Net is; read without torch."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sam_moe.config import Record

_Positive = Annotated[int, Field(gt=0)]


class ConvSizes(Record):
    """Sizes of the network (ours); a picture's sides are multiples of 2 to the number of halvings."""

    host: Literal["conv_unet"] = Field("conv_unet", description="The network.")
    image_size: _Positive = Field(128, description="Edge in pixels of the pictures it learns from.")
    in_channels: _Positive = Field(3, description="Neighbouring slices, the middle one segmented.")
    widths: tuple[_Positive, ...] = Field(
        (16, 32, 64, 128, 128), min_length=3, description="Channels of each level, the finest first."
    )
    site_levels: int = Field(
        2, ge=0, description="How many of the coarsest levels have feed-forward places; 0 is the plain U-Net."
    )
    mlp_ratio: _Positive = Field(2, description="Hidden width of a feed-forward place, in widths.")
    classes: tuple[_Positive, ...] = Field(
        min_length=1, description="Classes of each data set's head, background included."
    )

    @property
    def multiple(self) -> int:
        """What the sides of a picture are multiples of."""
        return int(2 ** (len(self.widths) - 1))

    @model_validator(mode="after")
    def _fits(self) -> "ConvSizes":
        if self.image_size % self.multiple:
            raise ValueError(
                f"image_size {self.image_size} must be a multiple of {self.multiple}: each of the "
                f"{len(self.widths)} levels halves the one before"
            )
        if self.site_levels >= len(self.widths):
            raise ValueError(
                f"site_levels {self.site_levels} must be less than the {len(self.widths)} levels of widths"
            )
        return self
