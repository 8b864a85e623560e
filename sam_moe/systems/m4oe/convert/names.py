"""What public checkpoints call things: which code one is from, and where each of our tensors is in it."""

import re
from collections.abc import Iterable, Mapping
from typing import Literal

from torch import Tensor

from sam_moe.errors import WeightsError
from sam_moe.moe.experts import key_of

# "m4oe" gates experts by channels, "m4oe-hard" picks one by the data set; "swin-mae" has no experts.
Origin = Literal["m4oe", "m4oe-hard", "swin-mae"]
TITLES: Mapping[Origin, str] = {
    "m4oe": "M4oE with its gate over channels",
    "m4oe-hard": "M4oE with an expert for each data set and no gate",
    "swin-mae": "Swin-MAE",
}

_PREFIX = "swin_unet."
_FIRST = "layers.0.blocks.0."
# Computed from sizes by every network of ours
COMPUTED = ("attn_mask", "relative_position_index")
# Of Swin-MAE, with no place in M4oE: what predicts pixels, and a position embedding that it never adds
_LEFT_OUT = {"swin-mae": ("mask_token", "pos_embed", "decoder_pred.")}
# Of M4oE, not in Swin-MAE: they start anew
_FRESH = {"swin-mae": ("norm.", "concat_back_dim.", "up.", "outputs.")}
_EXPERT = re.compile(r"mlp\.(?:shared|site\.experts\.(?P<key>[^.]+))\.(?P<layer>[02])\.")
_LAYERS = {"0": "fc1", "2": "fc2"}


def plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without the prefix `swin_unet.`, where all have it but what is no part of the network."""
    if not any(name.startswith(_PREFIX) for name in state):
        return dict(state)
    return {name.removeprefix(_PREFIX): tensor for name, tensor in state.items()}


def origin_of(names: Iterable[str]) -> Origin | None:
    """Which code a checkpoint is from, by the parts of its first block; None for another network's.

    Names may have the prefix `swin_unet.`.
    """
    known = {name.removeprefix(_PREFIX) for name in names}
    if f"{_FIRST}mlp.experts.0.0.weight" in known:
        return "m4oe" if f"{_FIRST}mlp.gating_network.weight" in known else "m4oe-hard"
    masked = {f"{_FIRST}mlp.fc1.weight", "first_patch_expanding.expand.weight"}
    return "swin-mae" if masked <= known else None


def source_of(name: str, experts: tuple[str, ...], origin: Origin) -> str | None:
    """The name in the checkpoint of a tensor of ours; None for one that starts anew.

    Swin-MAE's one feed-forward part goes to every expert. Its decoder is counted from the stage after the
    first expansion, which M4oE counts as stage 0.
    """
    inner = name.removeprefix("host.")
    if ".site.gate." in inner or inner.startswith(_FRESH.get(origin, ())):
        return None
    if found := _EXPERT.search(inner):
        before, after = inner[: found.start()], inner[found.end() :]
        if origin == "swin-mae":
            part = f"mlp.{_LAYERS[found['layer']]}."
        else:
            keys = [key_of(id) for id in experts]
            part = f"mlp.experts.{keys.index(found['key'])}.{found['layer']}."
        inner = before + part + after
    if origin == "swin-mae" and inner.startswith("layers_up."):
        _, stage, rest = inner.split(".", 2)
        return f"first_patch_expanding.{rest}" if stage == "0" else f"layers_up.{int(stage) - 1}.{rest}"
    return inner


def left_out(name: str, origin: Origin) -> bool:
    """Whether a tensor of a checkpoint has no place in M4oE by design."""
    return name.endswith(COMPUTED) or name.startswith(_LEFT_OUT.get(origin, ()))


def check_computed(state: Mapping[str, Tensor], ours: Mapping[str, Tensor], where: str) -> int:
    """Compare stored masks and indices of positions with ours; how many there were.

    Raises:
        WeightsError: for one that differs: the checkpoint is of another network or size.
    """
    stored = [name for name in state if name.endswith(COMPUTED) and name in ours]
    for name in stored:
        own = ours[name]
        found = state[name]
        if found.numel() != own.numel() or not (found.reshape(own.shape).to(own.dtype) == own).all():
            raise WeightsError(
                f"{where}: {name} is another one than that of the sizes found. Give the size of the pictures "
                "that it was trained on (--image-size)."
            )
    return len(stored)
