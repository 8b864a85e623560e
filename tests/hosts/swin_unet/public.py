"""An oracle of the public feed-forward parts; vectors of the public network, where there are any."""

import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sam_moe.hosts.swin_unet.network import SwinUNet
from sam_moe.hosts.swin_unet.sizes import SwinSizes

HERE = Path(__file__).resolve().parent
FOLDER = Path(
    os.environ.get("SAM_MOE_M4OE_REFERENCE", HERE.parents[2] / ".." / "shared" / "reference_m4oe")
).resolve()
NONE = f"no reference vectors in {FOLDER}; set SAM_MOE_M4OE_REFERENCE to a folder that has them"
PREFIX = "swin_unet."
COMPUTED = ("attn_mask", "relative_position_index")


class ChannelGated(nn.Module):
    """The public gate: a softmax over channels, which every expert's answer is multiplied by."""

    def __init__(self, width: int, hidden: int, experts: int) -> None:
        super().__init__()
        self.gating_network = nn.Linear(width, width)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
            for _ in range(experts)
        )

    def forward(self, tokens, asked=None):
        return sum(self.gating_network(tokens).softmax(-1) * expert(tokens) for expert in self.experts)


@dataclass(frozen=True)
class Variant:
    """A folder of vectors."""

    case: dict
    state: dict[str, Tensor]
    vectors: dict[str, Tensor]

    @property
    def images(self) -> Tensor:
        return self.vectors["input"]

    @property
    def heads(self) -> Tensor:
        return self.vectors["predict_head"]

    @property
    def sizes(self) -> SwinSizes:
        names = ("image_size", "in_channels", "embed_dim", "depths", "heads", "window", "mlp_ratio")
        return SwinSizes(classes=self.case["classes_per_head"], **{name: self.case[name] for name in names})

    def network(self, make=ChannelGated) -> SwinUNet:
        """The network with the stored weights, loaded strictly; buffers that ours computes are left out."""
        network = SwinUNet(self.sizes, lambda _, width, hidden: make(width, hidden, self.case["experts"]))
        own = {name: tensor for name, tensor in self.state.items() if not name.endswith(COMPUTED)}
        network.load_state_dict(own, strict=True)
        return network.eval()


# How near single precision comes to the public logits; the public network's own noise is up to 2e-4.
NEAR = 5e-4


@cache
def read(folder: Path) -> Variant:
    case = json.loads((folder / "case.json").read_text())
    weights = folder / "weights.safetensors"
    state = load_file(weights) if weights.exists() else {}
    plain = {name.removeprefix(PREFIX): tensor for name, tensor in state.items()}
    return Variant(case, plain, load_file(folder / "io.safetensors"))


def folders(*needed: str) -> list:
    """The folders whose vectors have these names, as parameters of a test; one that is skipped for none."""
    found = []
    for folder in sorted(FOLDER.iterdir()) if FOLDER.is_dir() else []:
        if (folder / "case.json").exists() and set(needed) <= set(read(folder).vectors):
            found.append(pytest.param(folder, id=folder.name))
    return found or [pytest.param(None, id="none", marks=pytest.mark.skip(reason=NONE))]


def difference(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference, compared in double."""
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    return (ours.double() - theirs.double()).abs().max().item()


def two_best(logits: Tensor) -> Tensor:
    """By how much the best class exceeds the next."""
    best, second = logits.topk(2, dim=1).values.unbind(1)
    return best - second


def answers(network: nn.Module, run) -> dict[str, tuple[Tensor, Tensor]]:
    """What each module was given first and answered while `run()` ran."""
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def keep(name):
        def hook(_, given, answer):
            if isinstance(answer, Tensor):
                seen[name] = given[0], answer

        return hook

    hooks = [module.register_forward_hook(keep(name)) for name, module in network.named_modules()]
    try:
        with torch.no_grad():
            run()
    finally:
        for hook in hooks:
            hook.remove()
    return seen
