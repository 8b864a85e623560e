"""What the gates' profile of a data set's own scans is like, and how far another scan lies from it."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from sam_moe.shapes import Float

# Of the variance that is shared: with nine scans a covariance of dozens of logits is no covariance
_SHRINKAGE = 0.3
_LEAST = 1e-3
MEAN, PRECISION = "reference.{}.mean", "reference.{}.precision"


def reference(profiles: Float[Tensor, "n p"]) -> tuple[Float[Tensor, " p"], Float[Tensor, "p p"]]:
    """Mean and inverse covariance of profiles, the covariance drawn towards equal variances (ours).

    `0.7 cov + 0.3 tr(cov)/p I`, after Ledoit and Wolf (2004), with a fixed share: a data set may have nine
    scans. One profile alone has the unit covariance times a small number.
    """
    mean = profiles.mean(dim=0)
    centred = (profiles - mean).double()
    covariance = centred.T @ centred / max(1, len(profiles) - 1)
    width = len(mean)
    spread = max(float(covariance.trace()) / width, _LEAST)
    unit = torch.eye(width, dtype=torch.float64)
    return mean, torch.linalg.inv((1 - _SHRINKAGE) * covariance + _SHRINKAGE * spread * unit).float()


def distance(
    profile: Float[Tensor, " p"], mean: Float[Tensor, " p"], precision: Float[Tensor, "p p"]
) -> float:
    """Mahalanobis distance of a profile to a reference, through the root of the profile's length.

    So 1 is what a scan of the set itself has on average, whatever the number of gates.
    """
    from_mean = (profile - mean).double()
    return float((from_mean @ precision.double() @ from_mean / len(mean)).clamp(min=0).sqrt())


def left_out(profiles: Float[Tensor, "n p"]) -> list[float]:
    """Each profile's distance to the reference of all others; nothing of one profile alone."""
    found: list[float] = []
    if len(profiles) == 1:
        return found
    for number in range(len(profiles)):
        others = torch.cat([profiles[:number], profiles[number + 1 :]])
        found.append(distance(profiles[number], *reference(others)))
    return found


def far_of(distances: Iterable[float], share: float = 0.95) -> float:
    """The distance below which this share of the distances lies: the next one above it in their order."""
    ordered = sorted(distances)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def of_weights(state: Mapping[str, Tensor], id: str) -> tuple[Tensor, Tensor] | None:
    """A data set's reference among a file's tensors; None where it holds none."""
    mean, precision = state.get(MEAN.format(id)), state.get(PRECISION.format(id))
    return None if mean is None or precision is None else (mean.float(), precision.float())
