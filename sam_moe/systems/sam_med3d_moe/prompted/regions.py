"""Pretraining a small general model: regions from scans and phantoms, clicks and boxes as at prediction."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from sam_moe.errors import SamMoeError
from sam_moe.hosts.sam3d.lowering import BoxStrategy
from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.network.mask_decoder import MaskDecoder
from sam_moe.hosts.sam3d.normalise import Normalisation, normalise
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.shapes import Bool, Float
from sam_moe.systems.sam_med3d_moe.prompted.conversation import DEPTHS, talk_through
from sam_moe.training.engine.seeds import seeded
from sam_moe.training.scans.cache import Scan
from sam_moe.training.scans.crops import Crop, CropRanges, draw_crop
from sam_moe.training.scans.phantoms import draw_phantom, spoil

# Draws in a row that gave no region; more mean that the scans hold next to nothing to learn.
_PATIENCE = 1000


class Regions(Dataset[dict[str, Tensor]]):
    """An endless, repeatable stream of regions: number n is the same on every machine and after every resume.

    Sets are drawn by `weights`, then a scan, then a structure, so that a rare structure is not drowned. For
    the first `curriculum` samples, phantoms take half of the stream.
    """

    def __init__(
        self,
        scans: list[Scan],
        size: int,
        seed: int,
        length: int,
        weights: dict[str, float],
        phantom_share: float,
        curriculum: int = 0,
        ranges: CropRanges | None = None,
        spoil_share: float = 1.0,
        normalisation: Normalisation = "mean",
        targets: int = 1,
    ) -> None:
        self.targets = targets
        self.normalisation: Normalisation = normalisation
        self.size, self.seed, self.length, self.spoil_share = size, seed, length, spoil_share
        self.ranges = ranges or CropRanges()
        self.phantom_share, self.curriculum = phantom_share, curriculum
        self.by_set: dict[str, list[Scan]] = {}
        for scan in scans:
            self.by_set.setdefault(scan.group, []).append(scan)
        self.names = sorted(self.by_set)
        self.weights = torch.tensor([weights.get(n, 1.0) for n in self.names])

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        return self.named(number)[0]

    def named(self, number: int) -> tuple[dict[str, Tensor], str, str]:
        """A sample, the name of the structure that its region was cut for, and the scan's."""
        rng = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        share = 0.5 if number < self.curriculum else self.phantom_share
        for _ in range(_PATIENCE):
            if (crop := self._draw(share, rng)) is not None:
                break
        else:
            raise SamMoeError(
                f"{_PATIENCE} draws gave no region for sample {number}. The structures are too small to be "
                "seen; leave them out, or add scans or phantoms."
            )
        spoiled = torch.rand((), generator=rng) < self.spoil_share
        image = spoil(crop.image, rng) if spoiled else crop.image
        sample = {"image": normalise(image, self.normalisation)[None], "target": crop.targets}
        return sample, crop.structure, crop.case

    def _draw(self, share: float, rng: torch.Generator) -> Crop | None:
        if not self.names or torch.rand((), generator=rng) < share:
            return draw_phantom(self.size, rng, self.targets)
        name = self.names[int(torch.multinomial(self.weights, 1, generator=rng))]
        scan = self.by_set[name][int(torch.randint(len(self.by_set[name]), (), generator=rng))]
        structures = sorted(scan.structures)
        label = structures[int(torch.randint(len(structures), (), generator=rng))]
        return draw_crop(scan, label, self.size, self.ranges, rng, self.targets)


class PromptedLoss(nn.Module):
    """One step's loss: each region is encoded once and talked about (`conversation.talk_through`)."""

    def __init__(
        self,
        model: SamMed3D,
        depths: Sequence[float] = DEPTHS,
        box_jitter: float = 0.06,
        box_strategy: BoxStrategy = "mask",
    ) -> None:
        super().__init__()
        self.model, self.box_jitter = model, box_jitter
        self.box_strategy: BoxStrategy = box_strategy
        self.depths = torch.tensor(depths)

    def forward(
        self, image: Float[Tensor, "b 1 s s s"], target: Bool[Tensor, "b t s s s"], rng: torch.Generator
    ) -> Float[Tensor, ""]:
        """The mean loss of a step."""
        embedding = self.model.encode(image)
        how = self.depths, self.box_jitter, self.box_strategy
        return talk_through(self.model, embedding, target, rng, *how)


def fresh_model(sizes: Sizes, seed: int) -> SamMed3D:
    """A model with the initial weights that training starts from."""
    with seeded(seed):
        model = SamMed3D(sizes)
        for name, parameter in model.named_parameters():
            linear = parameter.ndim == 2 and not any(part in name for part in ("embed", "token", "rel_pos"))
            if linear or name.endswith("pos_embed"):
                nn.init.trunc_normal_(parameter, std=0.02)
    return learning(model)


def learning(model: SamMed3D) -> SamMed3D:
    """The model itself, to be trained: all of it but what is never asked here."""
    model.train().requires_grad_(True)
    model.prompt_encoder.no_mask_embed.requires_grad_(False)
    freeze_unasked(model.mask_decoder)
    return model


def freeze_unasked(decoder: MaskDecoder) -> None:
    """Freeze the heads never asked, as in the reference's training: the IoU's and those of masks 1 to 3."""
    decoder.iou_prediction_head.requires_grad_(False)
    decoder.output_hypernetworks_mlps[1:].requires_grad_(False)
