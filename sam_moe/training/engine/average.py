"""Averaged weights, which are what a training keeps and validates."""

import torch
from torch import Tensor, nn


class Average:
    """An exponential moving average of a model's parameters; buffers are copied."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move towards the model; quickly in the first steps, when there is little to remember."""
        keep = min(self.decay, (1 + step) / (10 + step))
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                self.values[name].lerp_(value.detach(), 1 - keep)
            else:
                self.values[name].copy_(value)

    def state_dict(self) -> dict[str, Tensor]:
        """What a checkpoint keeps."""
        return dict(self.values)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take up where a checkpoint left."""
        for name, value in state.items():
            self.values[name].copy_(value)
