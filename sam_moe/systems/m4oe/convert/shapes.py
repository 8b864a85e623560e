"""The sizes of a public network, read off the shapes of its tensors."""

import re
from collections.abc import Mapping

from pydantic import ValidationError
from torch import Tensor

from sam_moe.config import explain
from sam_moe.errors import WeightsError
from sam_moe.hosts.swin_unet.sizes import PATCH, STAGES, SwinSizes
from sam_moe.systems.m4oe.convert.names import Origin

_BLOCK = "layers.{}.blocks.0."
_TABLE = _BLOCK + "attn.relative_position_bias_table"


def read_swin_sizes(
    state: Mapping[str, Tensor],
    origin: Origin,
    where: str,
    image_size: int | None = None,
    heads: tuple[int, ...] | None = None,
) -> SwinSizes:
    """Width, depths, heads, window and classes, as the tensors have them.

    The size of pictures is in the stored masks, or in windows that shrink with a stage. Else it is in no
    tensor: then a last stage of one window is taken (224 for window 7), unless `image_size` is given.
    `heads` are the classes of each data set, for a checkpoint without heads.

    Raises:
        WeightsError: naming the tensor that is missing for that, or sizes that no such network has.
    """

    def shape(name: str) -> tuple[int, ...]:
        if name not in state:
            raise WeightsError(f"{where}: {name} is missing, without which its sizes are not known.")
        return tuple(state[name].shape)

    width, channels = (*shape("patch_embed.proj.weight"), 0, 0)[:2]
    tables = [shape(_TABLE.format(stage)) for stage in range(STAGES)]
    if any(len(table) != 2 or _edge(table[0]) is None for table in tables):
        raise WeightsError(
            f"{where}: its tables of relative positions are {tables}, expected (2w - 1)^2 rows."
        )
    edges = [_edge(rows) or 0 for rows, _ in tables]
    hidden = "mlp.fc1.weight" if origin == "swin-mae" else "mlp.experts.0.0.weight"
    found = {
        "image_size": image_size or _image_size(state, edges),
        "in_channels": channels,
        "embed_dim": width,
        "depths": [_count(state, rf"layers\.{stage}\.blocks\.(\d+)\.") for stage in range(STAGES)],
        "heads": [table[1] for table in tables],
        "window": edges[0],
        "mlp_ratio": shape(_BLOCK.format(0) + hidden)[0] // max(1, width),
        "classes": heads or _classes(state),
    }
    try:
        return SwinSizes.model_validate(found)
    except ValidationError as error:
        raise WeightsError(explain(error, SwinSizes, f"{where}, by the shapes of its tensors")) from error


def count_experts(state: Mapping[str, Tensor]) -> int:
    """How many experts the first block has."""
    return _count(state, r"layers\.0\.blocks\.0\.mlp\.experts\.(\d+)\.")


def _edge(rows: int) -> int | None:
    """The edge of a window whose table has so many rows; None where no window has."""
    side = round(rows**0.5)
    return (side + 1) // 2 if side * side == rows and side % 2 else None


def _image_size(state: Mapping[str, Tensor], edges: list[int]) -> int:
    mask = state.get("layers.0.blocks.1.attn_mask")
    if mask is not None:  # one for each window of a shifted square
        return int(PATCH * edges[0] * round(len(mask) ** 0.5))
    for stage, edge in enumerate(edges):
        if edge < edges[0]:
            return int(PATCH * edge * 2**stage)
    return int(PATCH * edges[-1] * 2 ** (STAGES - 1))


def _classes(state: Mapping[str, Tensor]) -> list[int]:
    weights = (state.get(f"outputs.{head}.weight") for head in range(_count(state, r"outputs\.(\d+)\.")))
    return [0 if weight is None else len(weight) for weight in weights]


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    """How many different numbers a part of names has."""
    return len({found[1] for name in state if (found := re.match(pattern, name))})
