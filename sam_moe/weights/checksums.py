"""The fingerprint of a network: over its tensors, whatever file they lie in."""

import hashlib

import torch
from torch import nn


def fingerprint(model: nn.Module) -> str:
    """SHA-256 over names, kinds, shapes and bytes of all tensors: equal only if the weights are.

    Keys the embedding cache, and proves that what is frozen did not change (ours).
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}\n{tensor.dtype}\n{tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
