"""Small layers that encoder, prompt encoder and decoder share; parameter names are the checkpoint's."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


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
        pairs = zip(widths[:-1], widths[1:], strict=True)
        self.layers = nn.ModuleList(nn.Linear(inside, outside) for inside, outside in pairs)

    def forward(self, x: Float[Tensor, "... i"]) -> Float[Tensor, "... o"]:
        """Apply all layers; no activation after the last."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        last: Tensor = self.layers[-1](x)
        return last


class Derived:
    """A tensor computed from parameters, kept until one of them changes.

    Frozen weights are the rule here, so what follows from them alone is computed once. Under autograd it is
    computed anew each time: the result must carry gradients. An optimiser's step or `load_state_dict` changes a
    parameter's version, `.to()` its storage; both are seen.
    """

    def __init__(self) -> None:
        self._key: tuple[object, ...] | None = None
        self._value: tuple[Tensor, ...] = ()

    def __call__(self, compute: Callable[[], tuple[Tensor, ...]], *sources: Tensor) -> tuple[Tensor, ...]:
        """Return `compute()`, or what it gave last time if no source has changed since."""
        if torch.is_grad_enabled() and any(s.requires_grad for s in sources):
            return compute()
        key = tuple((s.data_ptr(), s.dtype, 0 if s.is_inference() else s._version) for s in sources)
        if torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
            return compute()  # what autocast makes must not be met again outside it
        if key != self._key:
            self._value, self._key = compute(), key
        return self._value
