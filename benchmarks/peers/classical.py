"""What segments from a click or a box without having learnt anything: the tools that ours must beat.

From clicks: SimpleITK's ConfidenceConnected and scikit-image's random walker. From a box: the ellipsoid
inscribed in it, whole and cut by intensity. The default settings were chosen with `tuning.py`, on validation
cases only and one for all targets: of each parameter in turn the value with the best mean Dice over the
general structures. Growing: mean of 1, 3 and 5 clicks on all 38 targets, 0.556. Cut: 0.640. The walker, which
is slow: mean of 1 and 3 clicks on the first two patients of each set, 0.627; 44³ voxels: 0.627.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import torch
from jaxtyping import Float
from scipy import ndimage

from sam_moe.prompts import Box, Point
from sam_moe.prompts.simulate import Mask
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume, resample, resample_seen

Array = Float[np.ndarray, "i j k"]


@dataclass(frozen=True)
class ConfidenceConnected:
    """Region growing within mean ± multiplier × deviation of the region so far, from all positive clicks.

    `sitk.ConfidenceConnected`. It knows neither a neighbourhood nor negative clicks, so it is helped (ours):
    it grows no farther than `reach_mm` from the clicks' hull on a Gaussian-smoothed scan, voxels nearer to a
    negative click than to any positive one are taken away, then holes are filled after an opening by
    `opening` voxels (0: none) that keeps the clicked parts.
    """

    multiplier: float = 2.0
    iterations: int = 0
    radius: int = 1
    reach_mm: float = 20.0
    smooth_mm: float = 3.0
    opening: int = 0

    def __call__(self, scan: Volume, clicks: Sequence[Point]) -> Mask:
        """Grow from the clicks, given in voxels."""
        spacing = np.array(scan.grid.spacing_mm)
        at = np.array([click.at for click in clicks]).round().astype(int)
        positive = np.array([click.positive for click in clicks])
        low = np.maximum(at[positive].min(0) - np.ceil(self.reach_mm / spacing).astype(int), 0)
        high = at[positive].max(0) + np.ceil(self.reach_mm / spacing).astype(int) + 1
        where = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        part = _smooth(scan.array[where].numpy().astype(np.float32), self.smooth_mm / spacing)
        seeds = at[positive] - low
        grown = sitk.ConfidenceConnected(  # type: ignore[no-untyped-call]
            sitk.GetImageFromArray(part.transpose()),
            seedList=seeds.tolist(),
            numberOfIterations=self.iterations,
            multiplier=self.multiplier,
            initialNeighborhoodRadius=self.radius,
            replaceValue=1,
        )
        mask = sitk.GetArrayFromImage(grown).transpose().astype(bool)
        mask[tuple(seeds.T)] = True
        if not positive.all():
            mask &= _nearer(mask.shape, seeds, at[~positive] - low, spacing)
        whole = np.zeros(scan.grid.shape, dtype=bool)
        whole[where] = _tidied(mask, seeds, self.opening)
        return whole


@dataclass(frozen=True)
class RandomWalker:
    """The label that a random walker starting at a voxel reaches first.

    Grady 2006, doi:10.1109/TPAMI.2006.233; `skimage.segmentation.random_walker`, mode `cg_j`, on a crop of
    `voxels`³ that reaches `reach_mm` beyond the clicks, resampled and smoothed. Seeds are balls of `seed_mm`
    around positive and negative clicks and the crop's faces, which are background. A voxel belongs to the
    target where the walker gets there with a probability above `threshold`: faces have far more seeds than a
    ball, so that 1/2 keeps too little (ours).
    """

    reach_mm: float = 60.0
    beta: float = 2000.0
    smooth_mm: float = 0.0
    seed_mm: float = 6.0
    threshold: float = 0.2
    voxels: int = 32

    def __call__(self, scan: Volume, clicks: Sequence[Point]) -> Mask:
        """Walk from the clicks, given in voxels."""
        from skimage.segmentation import random_walker  # an extra, see setup.cfg

        places = scan.grid.world_of([click.at for click in clicks])
        low, high = places.min(0) - self.reach_mm, places.max(0) + self.reach_mm
        crop = Grid.around((low + high) / 2, (self.voxels,) * 3, (high - low) / self.voxels)
        part = resample(scan, onto=crop, fill=float(scan.array.min())).array.numpy()
        part = _smooth(part, self.smooth_mm / np.array(crop.spacing_mm))
        part = np.clip(part, *np.percentile(part, (1, 99)))
        seeds = np.zeros(crop.shape, dtype=np.uint8)
        for axis in range(3):
            seeds.swapaxes(0, axis)[[0, -1]] = 2
        index = np.indices(crop.shape).reshape(3, -1).T
        for place, click in zip(crop.index_of(places), clicks, strict=True):
            far_mm = np.linalg.norm((index - place) * crop.spacing_mm, axis=1)
            ball = far_mm <= max(self.seed_mm, far_mm.min())
            seeds.reshape(-1)[ball] = 1 if click.positive else 2
        spread = np.ptp(part)
        first = random_walker(
            part.astype(np.float64) / spread if spread else part,
            seeds,
            beta=self.beta,
            mode="cg_j",
            tol=1e-3,
            prob_tol=1.0,  # no warning; a tolerance of 1e-5 gave the same Dice, five times slower
            spacing=np.array(crop.spacing_mm) / min(crop.spacing_mm),
            return_full_prob=True,
        )[0]
        mask = np.zeros(scan.grid.shape, dtype=bool)
        seen, where = resample_seen(Volume(torch.from_numpy(first.astype(np.float32)), crop), scan.grid)
        mask[where] = (seen > self.threshold).numpy()
        return mask


@dataclass(frozen=True)
class CutEllipsoid:
    """The box's ellipsoid, cut to the intensities found in its middle (ours).

    The middle is the ellipsoid of `inner` times the size; what stays is within its median ± `width` robust
    deviations (1.4826 × median absolute deviation) on a Gaussian-smoothed scan, tidied as region growing is.
    `outer` scales the ellipsoid that is cut; it never leaves the box.
    """

    inner: float = 0.6
    width: float = 2.0
    outer: float = 1.1
    smooth_mm: float = 0.0
    opening: int = 0

    def __call__(self, scan: Volume, box: Box) -> Mask:
        """Cut the ellipsoid of a box in voxels."""
        far = _distance(box, scan.grid.shape)
        start, stop = np.round(box.start).astype(int), np.round(box.stop).astype(int)
        where = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        spacing = np.array(scan.grid.spacing_mm)
        part = _smooth(scan.array[where].numpy().astype(np.float32), self.smooth_mm / spacing)
        near = far[where]
        middle = part[near <= max(self.inner, float(near.min()))]
        centre = np.median(middle)
        reach = self.width * max(
            1.4826 * float(np.median(np.abs(middle - centre))), 1e-3 * float(np.ptp(part))
        )
        mask = (np.abs(part - centre) <= reach) & (near <= self.outer)
        whole = np.zeros(scan.grid.shape, dtype=bool)
        whole[where] = _tidied(mask, np.argwhere(near == near.min()), self.opening)
        return whole


def ellipsoid(shape: tuple[int, int, int], box: Box) -> Mask:
    """The ellipsoid inscribed in a half-open box in voxels; its surface touches the six faces."""
    return _distance(box, shape) <= 1


def _distance(box: Box, shape: tuple[int, int, int]) -> Array:
    """How far from the box's centre, in half edges: 1 on the inscribed ellipsoid."""
    axes = []
    for start, stop, count in zip(box.start, box.stop, shape, strict=True):
        axes.append((2 * np.arange(count) - (start + stop - 1)) / (stop - start))
    x, y, z = np.ix_(*axes)
    return np.asarray(np.sqrt(x**2 + y**2 + z**2))


def _smooth(image: Array, sigma_voxels: np.ndarray) -> Array:
    return (
        np.asarray(ndimage.gaussian_filter(image, sigma_voxels, truncate=3)) if sigma_voxels.any() else image
    )


def _nearer(shape: tuple[int, ...], these: np.ndarray, those: np.ndarray, spacing_mm: np.ndarray) -> Mask:
    """Where the nearest of these points is no farther than the nearest of those."""
    index = np.indices(shape).reshape(3, -1).T * spacing_mm
    ours, theirs = (
        np.min([((index - point * spacing_mm) ** 2).sum(1) for point in points], axis=0)
        for points in (these, those)
    )
    return np.asarray(ours <= theirs).reshape(shape)


def _tidied(mask: Mask, seeds: np.ndarray, opening: int) -> Mask:
    """Open a mask, keep the parts that hold a seed (else the largest), fill holes slice by slice."""
    opened = ndimage.binary_opening(mask, iterations=opening) if opening else mask
    labels, count = ndimage.label(opened)
    if not count:
        return mask
    kept = set(labels[tuple(seeds.T)].tolist()) - {0} or {int(np.bincount(labels.ravel())[1:].argmax()) + 1}
    filled = np.isin(labels, list(kept))
    for k in range(filled.shape[2]):
        filled[..., k] = ndimage.binary_fill_holes(filled[..., k])
    return np.asarray(filled)
