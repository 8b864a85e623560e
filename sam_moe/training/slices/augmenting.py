"""A tile turned, scaled and disturbed, from MONAI's random transforms and one random state a sample.

MONAI's own RandAffine takes 4 ms for a tile and its labels on one thread of the machine this was measured on,
where affine_grid and grid_sample take 0.4 ms: here MONAI draws the parameters, torch interpolates, straight
from the scan, so that what is turned into the tile is what lies there.
"""

from dataclasses import dataclass
from math import cos, pi, sin
from typing import Any

import numpy as np
import torch
from monai.transforms.intensity.array import (
    RandAdjustContrast,
    RandGaussianNoise,
    RandScaleIntensity,
    RandShiftIntensity,
)
from monai.transforms.spatial.array import RandAffineGrid
from torch import Tensor

from sam_moe.shapes import Float
from sam_moe.space.arrays import tensor_of
from sam_moe.training.slices.settings import Augmentation


@dataclass(frozen=True)
class Range:
    """A scan's prepared numbers: the least and the greatest, and their deviation."""

    least: float
    most: float
    spread: float


class Augmenter:
    """Draws what becomes of tiles; each call gives the same for the same random state."""

    def __init__(self, how: Augmentation) -> None:
        self.how = how
        turn = how.rotation_deg * pi / 180
        smallest, largest = how.zoom
        self._affine = RandAffineGrid(
            rotate_range=[(-turn, turn)], scale_range=[(1 / largest - 1, 1 / smallest - 1)]
        )
        self._intensity = (
            RandAdjustContrast(prob=how.contrast, gamma=how.gamma),
            RandScaleIntensity(factors=how.factor, prob=how.brightness),
            RandShiftIntensity(offsets=how.offset, prob=how.brightness),
            RandGaussianNoise(prob=how.noise, std=how.noise_deviation),
        )

    def place(
        self, rng: np.random.RandomState, spacing_mm: tuple[float, float]
    ) -> Float[Tensor, "2 2"] | None:
        """A matrix from steps on the tile to steps on the slice, in pixels; None for a tile that stays.

        A turn and a zoom in millimetres, whatever a pixel's sides are.
        """
        if rng.random_sample() >= self.how.moved:
            return None
        self._affine.set_random_state(state=rng)
        self._affine.randomize()
        turns, scales = self._affine.rotate_params, self._affine.scale_params
        assert turns and scales
        angle, scale = turns[0], scales[0]
        x, y = spacing_mm
        return scale * torch.tensor(
            [[cos(angle), -sin(angle) * y / x], [sin(angle) * x / y, cos(angle)]], dtype=torch.float32
        )

    def disturb(
        self, image: Float[Tensor, "3 u v"], values: Range, rng: np.random.RandomState
    ) -> Float[Tensor, "3 u v"]:
        """Another contrast, brightness and noise, within the scan's range; channels differ in noise alone."""
        changed: Any = (image - values.least) / values.spread
        for transform in self._intensity:
            transform.set_random_state(state=rng)
            changed = transform(changed)
        plain = tensor_of(changed) * values.spread + values.least
        return plain.clamp(values.least, values.most)
