"""Small layers that encoder, prompt encoder and decoder share; parameter names are the checkpoint's."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam_moe.shapes import Float


class LayerNorm3d(nn.Module):
    """Layer normalisation over the channels of a channel-first map (SAM's LayerNorm2d, one axis more)."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Float[Tensor, "b c d h w"]) -> Float[Tensor, "b c d h w"]:
        """Normalise each voxel over its channels."""
        return self.over_last(x.movedim(1, -1)).movedim(-1, 1)

    def over_last(self, x: Float[Tensor, "... c"]) -> Float[Tensor, "... c"]:
        """The same for a channel-last tensor, where it needs no copies."""
        return F.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.eps)


class MLP(nn.Module):
    """Linear layers with ReLU between them: the decoder's hyper-networks and IoU head."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        pairs = pairwise(widths)
        self.layers = nn.ModuleList(nn.Linear(inside, outside) for inside, outside in pairs)

    def forward(self, x: Float[Tensor, "... i"]) -> Float[Tensor, "... o"]:
        """Apply all layers; no activation after the last."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        last: Tensor = self.layers[-1](x)
        return last


class Derived:
    """Tensors computed from others that seldom change (frozen weights, mostly), kept until one of those does.

    Under autograd they are computed anew each time: the result must carry gradients. An optimiser's step or
    `load_state_dict` changes a source's version, `.to()` its storage; both are seen. Writing through `.data`
    is not. A copied or pickled module starts with nothing kept.
    """

    def __init__(self) -> None:
        self._kept: _Kept | None = None

    def __call__(self, compute: Callable[[], tuple[Tensor, ...]], *sources: Tensor) -> tuple[Tensor, ...]:
        """Return `compute()`, or what it gave last time if no source has changed since."""
        if torch.is_grad_enabled() and any(s.requires_grad for s in sources):
            return compute()
        if torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
            return compute()  # what autocast makes must not be met again outside it
        key = tuple(
            (s.data_ptr(), s.dtype, s.shape, s.stride(), 0 if s.is_inference() else s._version)
            for s in sources
        )
        kept = self._kept
        if kept is None or kept.key != key:
            # An inference tensor kept here would break a training step that meets it later.
            with torch.inference_mode(False), torch.no_grad():
                kept = _Kept(key, compute(), tuple(s.detach() for s in sources))
            self._kept = kept
        return kept.value

    def __reduce__(self) -> tuple[type["Derived"], tuple[()]]:
        return Derived, ()


class _Kept(NamedTuple):
    """What was computed and from what; holding the sources keeps their addresses from being reused."""

    key: tuple[object, ...]
    value: tuple[Tensor, ...]
    sources: tuple[Tensor, ...]
