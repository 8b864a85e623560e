"""Feed-forward experts, and many of them side by side as one wide product."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam_moe.shapes import Float


class FeedForward(nn.Sequential):
    """Linear, GELU, Linear on vectors `[..., c]`: the expert of a transformer's block.

    Its matrices are "0" and "2", as in M4oE's public code.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    @property
    def first(self) -> nn.Linear:
        """The matrix that widens."""
        assert isinstance(self[0], nn.Linear)
        return self[0]

    @property
    def second(self) -> nn.Linear:
        """The matrix that narrows."""
        assert isinstance(self[2], nn.Linear)
        return self[2]


def wide(
    experts: Sequence[FeedForward], x: Float[Tensor, "..."], weights: Float[Tensor, "*rows e"]
) -> Float[Tensor, "..."]:
    """The sum of the experts' answers times their weights, as one product with all hidden units.

    `sum_e w_e (B_e gelu(A_e x + a_e) + b_e)` is one feed-forward part with the matrices side by side, each
    expert's hidden units times its weight (ours): two products for any number of experts. Equal to running
    each by itself but for the order of summation.

    Args:
        experts: of one width and one hidden width.
        x: vectors `[*rows, ..., c]`; all that lie behind one row have its weights.
        weights: one a row and expert.
    """
    share = weights.reshape(*weights.shape[:-1], *[1] * (x.ndim - weights.ndim), len(experts)).to(x)
    hidden = F.gelu(
        F.linear(
            x,
            torch.cat([expert.first.weight for expert in experts]),
            torch.cat([expert.first.bias for expert in experts]),
        )
    )
    hidden = (hidden.unflatten(-1, (len(experts), -1)) * share[..., None]).flatten(-2)
    y = F.linear(hidden, torch.cat([expert.second.weight for expert in experts], dim=1))
    return y + share @ torch.stack([expert.second.bias for expert in experts])
