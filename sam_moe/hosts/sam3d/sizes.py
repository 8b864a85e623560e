"""How large a SAM-Med3D is: the one record that cards hold, plans carry and the network is built of.

It needs neither torch nor pydantic: cards are read without the one, machines that only train lack the other.
What a card may hold stands in the fields' metadata, in pydantic's words.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    import torch

Encoder = Literal["vit", "conv"]


def _size(default: int, description: str, *, stated: bool = False, least: int = 1) -> Any:
    """A whole number; `stated` in every card, as no default of the public model's may stand for it."""
    return field(default=default, metadata={"description": description, "gt": least - 1, "stated": stated})


@dataclass(frozen=True)
class Sizes:
    """Every size of the network; the defaults are the public model's (`vit_b_ori`, 100.5 M parameters).

    `image_size` is the region's edge in voxels; the embedding's edge (`grid`) is `image_size / patch_size`,
    low-resolution logits have four times that edge. `out_channels` is the width shared by embedding, prompts
    and decoder; it is a multiple of 3 (the positional features are sin, cos, sin) and of 2 * `decoder_heads`.

    The `encoder` is SAM-Med3D's ViT or the convolutional one, which has no heads and no windows: it halves
    the region for each of `conv_widths` and once more to `embed_dim`, so that `patch_size` is a power of 2.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # as every record of a card

    image_size: int = _size(128, "Edge of the cubic region in voxels.", stated=True)
    patch_size: int = _size(16, "Edge of a patch in voxels.", stated=True)
    embed_dim: int = _size(768, "Width of the image encoder.", stated=True)
    depth: int = _size(12, "Blocks of the image encoder.", stated=True)
    num_heads: int = _size(12, "Attention heads of the ViT.")
    window_size: int = _size(
        14, "Edge in tokens of the windows that most blocks of the ViT attend within.", least=0
    )
    global_attn_indexes: tuple[int, ...] = field(
        default=(2, 5, 8, 11), metadata={"description": "Blocks that attend over the whole grid."}
    )
    out_channels: int = _size(384, "Width of the image embedding and of prompt tokens.", stated=True)
    decoder_mlp_dim: int = _size(2048, "Hidden width of the mask decoder's MLPs.", stated=True)
    decoder_heads: int = _size(8, "Attention heads of the mask decoder.")
    decoder_depth: int = _size(2, "Two-way blocks of the mask decoder.")
    iou_hidden_dim: int = _size(256, "Hidden width of the IoU head.", stated=True)
    corner_embeddings: bool = field(
        default=False, metadata={"description": "Whether the weights know a box's two corners."}
    )
    encoder: Encoder = field(
        default="vit", metadata={"description": "SAM-Med3D's ViT, or a convolutional one."}
    )
    conv_widths: tuple[int, ...] = field(
        default=(),
        metadata={
            "description": "Channels of the convolutional encoder's finer stages, each of which halves the "
            "region."
        },
    )

    @property
    def grid(self) -> int:
        """Edge of the image embedding, in tokens."""
        return self.image_size // self.patch_size

    @property
    def low_res(self) -> int:
        """Edge of the low-resolution logits, in voxels."""
        return 4 * self.grid

    def check(self) -> "Sizes":
        """These sizes, if a network can have them.

        Raises:
            ValueError: naming the sizes that do not go together.
        """
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
        if any(width < 1 for width in self.conv_widths):
            raise ValueError(f"conv_widths {self.conv_widths} must be greater than 0")
        if not vit and self.patch_size != (halved := 2 ** (len(self.conv_widths) + 1)):
            raise ValueError(
                f"patch_size {self.patch_size} must be {halved}, as the encoder halves the region once for "
                "each of conv_widths and once more"
            )
        return self

    @classmethod
    def stated(cls) -> tuple[str, ...]:
        """The sizes that every card gives."""
        return tuple(size.name for size in fields(cls) if size.metadata.get("stated"))

    @classmethod
    def from_state_dict(cls, state: "Mapping[str, torch.Tensor]", decoder_heads: int = 8) -> "Sizes":
        """Read every size off the shapes of a checkpoint with the ViT.

        Only the decoder's number of heads leaves no trace in the shapes; all known checkpoints use 8.
        A block whose tables span the grid attends globally; others name the window.
        """
        patch = state["image_encoder.patch_embed.proj.weight"]
        grid = state["image_encoder.pos_embed"].shape[1]
        depth = 1 + max(int(k.split(".")[2]) for k in state if k.startswith("image_encoder.blocks."))
        tables = [state[f"image_encoder.blocks.{i}.attn.rel_pos_d"] for i in range(depth)]
        windows = [(t.shape[0] + 1) // 2 for t in tables]
        local = [w for w in windows if w != grid]
        decoder = "mask_decoder.transformer.layers."
        return cls(
            image_size=grid * patch.shape[2],
            patch_size=patch.shape[2],
            embed_dim=patch.shape[0],
            depth=depth,
            num_heads=patch.shape[0] // tables[0].shape[1],
            window_size=local[0] if local else grid,
            global_attn_indexes=tuple(i for i, w in enumerate(windows) if w == grid),
            out_channels=state["prompt_encoder.no_mask_embed.weight"].shape[1],
            decoder_mlp_dim=state[decoder + "0.mlp.lin1.weight"].shape[0],
            decoder_heads=decoder_heads,
            decoder_depth=1 + max(int(k.split(".")[3]) for k in state if k.startswith(decoder)),
            iou_hidden_dim=state["mask_decoder.iou_prediction_head.layers.0.weight"].shape[0],
            corner_embeddings="prompt_encoder.point_embeddings.2.weight" in state,
        )
