"""Scenes without end: random bodies in random contrast, promptable by construction."""

import torch
from torch import Tensor
from torch.nn import functional as F

from sam_moe.shapes import Float
from sam_moe.training.scans.crops import Crop


def draw_phantom(size: int, rng: torch.Generator, targets: int = 1) -> Crop | None:
    """Paint warped ellipsoids, tubes and shells one over another and ask for what stays visible (ours)."""

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=rng)

    line = torch.linspace(-1, 1, size)
    place = torch.stack(torch.meshgrid(line, line, line, indexing="ij"), dim=-1)
    warp = smooth_noise(size, 6, rng, channels=3) * uniform(0.0, 0.25).item()
    place = place + warp.movedim(0, -1)
    bodies = int(torch.randint(3, 9, (), generator=rng))
    owner = torch.zeros(size, size, size, dtype=torch.long)
    for body in range(1, bodies + 1):
        centre = uniform(-0.8, 0.8, 3)
        radii = uniform(0.08, 0.5, 3)
        kind = torch.rand((), generator=rng).item()
        if kind < 0.3:  # a tube: one long axis
            radii[int(torch.randint(3, (), generator=rng))] *= 4
        turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=rng))
        distance = (((place - centre) @ turn) / radii).norm(dim=-1)
        inside = distance < 1
        if kind > 0.85:  # a shell
            inside &= distance > 0.6
        owner[inside] = body
    counts = owner.flatten().bincount(minlength=bodies + 1)
    fit = [b for b in range(1, bodies + 1) if 60 <= counts[b] <= 0.4 * size**3]
    if not fit:
        return None
    order = torch.randperm(len(fit), generator=rng).tolist()
    chosen = ([fit[n] for n in order] * targets)[:targets]
    mean = uniform(0, 200, bodies + 1)
    mean[0] *= float(torch.rand((), generator=rng) < 0.6)
    texture = smooth_noise(size, int(torch.randint(6, 25, (), generator=rng)), rng)[0]
    image = mean[owner] + uniform(0, 25, bodies + 1)[owner] * texture
    image = image + uniform(0, 15).item() * torch.randn(image.shape, generator=rng)
    return Crop(image - image.min(), torch.stack([owner == body for body in chosen]))


def smooth_noise(size: int, knots: int, rng: torch.Generator, channels: int = 1) -> Float[Tensor, "c s s s"]:
    """Gaussian noise on a coarse lattice, interpolated."""
    coarse = torch.randn(1, channels, knots, knots, knots, generator=rng)
    return F.interpolate(coarse, size=(size, size, size), mode="trilinear", align_corners=True)[0]


def spoil(image: Float[Tensor, "s s s"], rng: torch.Generator) -> Float[Tensor, "s s s"]:
    """What scanners do: bias field, noise, blur, thick slices, another contrast; each now and then.

    The usual augmentations (torchio's RandomBiasField, RandomNoise, RandomBlur, RandomAnisotropy,
    RandomGamma) as plain tensor operations: about 1 ms a region each.
    """

    def chance(p: float) -> bool:
        return bool(torch.rand((), generator=rng) < p)

    size = image.shape[-1]
    top = image.max().clamp(min=1e-6)
    image = image / top
    if chance(0.3):
        image = image.pow(torch.exp(torch.empty(()).uniform_(-0.5, 0.5, generator=rng)).item())
    if chance(0.1):
        image = (1 - image) * (image > 0.02)
    if chance(0.3):
        image = image * (0.3 * smooth_noise(size, 3, rng)[0]).exp()
    if chance(0.15):
        image = F.avg_pool3d(image[None, None], 3, 1, 1, count_include_pad=False)[0, 0]
    if chance(0.25):
        axis = int(torch.randint(3, (), generator=rng))
        factor = int(torch.randint(2, 6, (), generator=rng))
        shape = list(image.shape)
        shape[axis] = max(2, size // factor)
        thick = F.interpolate(image[None, None], size=shape, mode="trilinear")
        image = F.interpolate(thick, size=tuple(image.shape), mode="trilinear")[0, 0]
    if chance(0.5):
        sigma = torch.empty(()).uniform_(0, 0.08, generator=rng).item()
        image = image + sigma * torch.randn(image.shape, generator=rng)
    return image
