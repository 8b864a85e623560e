"""Checkpoints as the authors' trainers write them, with random weights."""

from pathlib import Path

import torch
from torch import Tensor, nn

from sam_moe.hosts.swin_unet.masked import MaskedSwin
from sam_moe.hosts.swin_unet.network import SwinUNet
from sam_moe.hosts.swin_unet.sizes import SwinSizes
from tests.hosts.swin_unet.public import ChannelGated

TINY = SwinSizes(
    image_size=64, embed_dim=4, depths=(1, 2, 1, 1), heads=(1, 2, 2, 4), window=4, mlp_ratio=2, classes=(3, 2)
)
MAE = SwinSizes(
    image_size=64, embed_dim=4, depths=(2, 1, 1, 2), heads=(1, 1, 2, 2), window=2, mlp_ratio=2, classes=(4, 3)
)


class Mlp(nn.Module):
    """The feed-forward part under Swin-MAE's names."""

    def __init__(self, width, hidden):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, tokens, asked=None):
        return self.fc2(nn.functional.gelu(self.fc1(tokens)))


def network(sizes: SwinSizes = TINY, experts: int = 2) -> SwinUNet:
    return SwinUNet(sizes, lambda _, width, hidden: ChannelGated(width, hidden, experts))


def drawn(module: nn.Module, seed: int = 0) -> dict[str, Tensor]:
    """Random weights for all parameters, and the stored masks and indices under their public names."""
    rng = torch.Generator().manual_seed(seed)
    state = {name: torch.randn(t.shape, generator=rng) / 8 for name, t in module.state_dict().items()}
    for name, buffer in module.named_buffers():
        block, _, kind = name.rpartition(".attn.")
        if kind == "attn_mask":
            state[f"{block}.attn_mask"] = buffer
        else:
            side = round(len(buffer) ** 0.5)
            state[name] = buffer.view(side, side)
    return state


def m4oe(sizes: SwinSizes = TINY, experts: int = 2) -> dict[str, Tensor]:
    return drawn(network(sizes, experts))


def swin_mae(sizes: SwinSizes = MAE) -> dict[str, Tensor]:
    module = MaskedSwin(sizes, lambda _, width, hidden: Mlp(width, hidden))
    return {**drawn(module), "pos_embed": torch.zeros(1, sizes.tokens**2, sizes.embed_dim)}


def saved(state: dict[str, Tensor], path: Path, prefix: str = "module.swin_unet.") -> Path:
    """As a trainer writes it: under "model", beside other things."""
    torch.save({"model": {prefix + name: t for name, t in state.items()}, "epoch": 7}, path)
    return path
