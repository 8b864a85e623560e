"""The one way intensities become what a model was trained on; its name is written in the backbone's card."""

from typing import Literal

from torch import Tensor

from sam_moe.shapes import Float

Normalisation = Literal["positive", "mean"]


def normalise(region: Float[Tensor, "*b s s s"], how: Normalisation) -> Float[Tensor, "*b s s s"]:
    """Standardise each region by its own foreground.

    `positive` is SAM-Med3D's: mean and standard deviation of the voxels above 0, CT included. `mean`
    (torchio's `ZNormalization.mean`) takes the voxels brighter than the region's mean, so it does not
    depend on the scanner's offset or scale; outliers (metal, pads) are cut at 3 standard deviations above
    and 4 below ("ours").
    """
    axes = (-3, -2, -1)
    if how == "positive":
        mean, deviation = _moments(region, region > 0)
        return (region - mean).div_(deviation)
    mean, deviation = _moments(region, region > region.mean(dim=axes, keepdim=True))
    region = region.minimum(mean + 3 * deviation)
    mean, deviation = _moments(region, region > region.mean(dim=axes, keepdim=True))
    return (region - mean).div_(deviation).clamp_(-4, 4)


def _moments(region: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and unbiased standard deviation of the chosen voxels, never 0."""
    axes = (-3, -2, -1)
    count = chosen.sum(dim=axes, keepdim=True)
    inside = chosen.to(region.dtype)  # once: torch multiplies numbers by truths slowly
    mean = (region * inside).sum(dim=axes, keepdim=True) / count.clamp(min=1)
    square = (region - mean).mul_(inside).square_().sum(dim=axes, keepdim=True)
    deviation = (square / (count - 1).clamp(min=1)).sqrt()
    return mean, deviation.where(deviation > 1e-6, 1.0)
