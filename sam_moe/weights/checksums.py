"""What weights are known by: a file by its bytes, a network by its tensors."""

import hashlib
from pathlib import Path

import torch
from torch import nn

from sam_moe.errors import WeightsError
from sam_moe.files import open_file, unreadable


def sha256_of(path: Path | str) -> str:
    """The SHA-256 of a file, as 64 hexadecimal digits."""
    with open_file(path, WeightsError) as file:
        digest = hashlib.sha256()
        try:
            while block := file.read(2**20):
                digest.update(block)
        except OSError as error:
            raise WeightsError(unreadable(path, error)) from error
    return digest.hexdigest()


def fingerprint(model: nn.Module) -> str:
    """SHA-256 over names, kinds, shapes and bytes of all tensors: equal only if the weights are.

    Keys the embedding cache, and proves that what is frozen did not change (ours).
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}\n{tensor.dtype}\n{tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
