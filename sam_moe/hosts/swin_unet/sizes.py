"""How large a Swin U-Net is, and which pictures fit it; read without torch."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sam_moe.config import Record

_Positive = Annotated[int, Field(gt=0)]
_Four = tuple[_Positive, _Positive, _Positive, _Positive]
PATCH = 4  # the last expansion of the public network is by 4, whatever its patch
STAGES = 4  # its skip connections count on them


class SwinSizes(Record):
    """Sizes of the network; the defaults are the public model's (arXiv 2405.09446).

    A side of `side / 4` tokens is halved three times, and on each stage the window holds all tokens or
    divides them: the public network pads nothing.
    """

    host: Literal["swin_unet"] = Field("swin_unet", description="The network.")
    image_size: _Positive = Field(224, description="Edge of a picture in pixels.")
    in_channels: _Positive = Field(3, description="Neighbouring slices, the middle one segmented.")
    embed_dim: _Positive = Field(96, description="Width of the first stage; it doubles at each merging.")
    depths: _Four = Field((2, 2, 2, 2), description="Blocks of each stage; the decoder mirrors them.")
    heads: _Four = Field((3, 6, 12, 24), description="Attention heads of each stage.")
    window: _Positive = Field(7, description="Edge in tokens of the windows of attention.")
    mlp_ratio: _Positive = Field(4, description="Hidden width of a block's feed-forward part, in widths.")
    classes: tuple[_Positive, ...] = Field(
        min_length=1, description="Classes of each data set's head, background included."
    )

    @property
    def tokens(self) -> int:
        """Tokens along a side of the first stage."""
        return self.image_size // PATCH

    @model_validator(mode="after")
    def _fits(self) -> "SwinSizes":
        if not fits(self.image_size, self.window):
            known = [size for size in range(32, 513, 32) if fits(size, self.window)]
            raise ValueError(
                f"image_size {self.image_size} does not fit window {self.window}: the tokens of a stage, "
                f"{self.image_size / PATCH:g} a side and then halved, must be whole, and at most the window "
                f"or a multiple of it. With this window fit: {', '.join(map(str, known)) or 'none up to 512'}"
            )
        for stage, heads in enumerate(self.heads):
            if (width := self.embed_dim * 2**stage) % heads:
                raise ValueError(f"heads: stage {stage} has width {width}, which {heads} heads do not divide")
        return self


def fits(image_size: int, window: int) -> bool:
    """Whether every stage's tokens are at most a window a side, or a multiple of it."""
    tokens = image_size // PATCH
    if image_size % PATCH or tokens % 2 ** (STAGES - 1):
        return False
    return all(tokens // 2**stage <= window or tokens // 2**stage % window == 0 for stage in range(STAGES))
