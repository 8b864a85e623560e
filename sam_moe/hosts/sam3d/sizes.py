"""How large a SAM-Med3D is: the record that builds the network, read off a checkpoint or a card."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

Encoder = Literal["vit", "conv"]


@dataclass(frozen=True)
class Sizes:
    """Every size of the network; the defaults are the public model's (`vit_b_ori`, 100.5 M parameters).

    `image_size` is the region's edge in voxels; the embedding's edge (`grid`) is `image_size / patch_size`,
    low-resolution logits have four times that edge. `out_channels` is the width shared by embedding, prompts
    and decoder; it is a multiple of 3 (the positional features are sin, cos, sin) and of 2 * `decoder_heads`.

    The `encoder` is SAM-Med3D's ViT or the convolutional one, which has no heads and no windows: it halves
    the region for each of `conv_widths` and once more to `embed_dim`, so that `patch_size` is a power of 2.
    """

    image_size: int = 128
    patch_size: int = 16
    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    window_size: int = 14
    global_attn_indexes: tuple[int, ...] = (2, 5, 8, 11)
    out_channels: int = 384
    decoder_mlp_dim: int = 2048
    decoder_heads: int = 8
    decoder_depth: int = 2
    iou_hidden_dim: int = 256
    corner_embeddings: bool = False
    encoder: Encoder = "vit"
    conv_widths: tuple[int, ...] = ()

    @property
    def grid(self) -> int:
        """Edge of the image embedding, in tokens."""
        return self.image_size // self.patch_size

    @property
    def low_res(self) -> int:
        """Edge of the low-resolution logits, in voxels."""
        return 4 * self.grid

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor], decoder_heads: int = 8) -> "Sizes":
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
