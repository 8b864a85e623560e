"""The fingerprint of a network: over its tensors, whatever file they lie in."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sam_moe.weights.files import read_state


def fingerprint(model: nn.Module) -> str:
    """SHA-256 over names, kinds, shapes and bytes of all tensors: equal only if the weights are.

    Keys the embedding cache, and proves that what is frozen did not change (ours).
    """
    return _digest(model.state_dict())


def fingerprint_of(path: Path) -> str:
    """The fingerprint of the network whose weights a file holds, which has all of them in float32.

    Raises:
        WeightsError: for a file that cannot be read.
    """
    return _digest({name: tensor.to(torch.float32) for name, tensor in read_state(path).items()})


def _digest(state: Mapping[str, Any]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(f"{name}\n{tensor.dtype}\n{tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
