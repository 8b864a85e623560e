"""Pretraining a small general model: regions from scans and phantoms, clicks and boxes as at prediction."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from sam_moe.errors import SamMoeError
from sam_moe.sam3d.lowering import lower_box
from sam_moe.sam3d.model import SamMed3D, upsample
from sam_moe.sam3d.normalise import Normalisation, normalise
from sam_moe.sam3d.prompt_encoder import PromptTokens
from sam_moe.sam3d.sizes import Sizes
from sam_moe.training.crops import Crop, CropRanges, draw_crop
from sam_moe.training.losses import dice_and_cross_entropy
from sam_moe.training.phantoms import draw_phantom, spoil
from sam_moe.training.prompting import boxes_around, click_inside, correcting_clicks
from sam_moe.training.sources import Scan

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
        spoiled: bool = True,
        normalisation: Normalisation = "mean",
    ) -> None:
        self.normalisation: Normalisation = normalisation
        self.size, self.seed, self.length, self.spoiled = size, seed, length, spoiled
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
        image = spoil(crop.image, rng) if self.spoiled else crop.image
        return {"image": normalise(image, self.normalisation)[None], "target": crop.target}

    def _draw(self, share: float, rng: torch.Generator) -> Crop | None:
        if not self.names or torch.rand((), generator=rng) < share:
            return draw_phantom(self.size, rng)
        name = self.names[int(torch.multinomial(self.weights, 1, generator=rng))]
        scan = self.by_set[name][int(torch.randint(len(self.by_set[name]), (), generator=rng))]
        structures = sorted(scan.structures)
        label = structures[int(torch.randint(len(structures), (), generator=rng))]
        return draw_crop(scan, label, self.size, self.ranges, rng)


class PromptedLoss(nn.Module):
    """One training step's loss: three ways to prompt each region, each then corrected by clicks.

    Every region is encoded once and asked by a click, by a box lowered to corners, and by a box drawn into
    the mask prompt; each further round adds a click into the largest error and feeds the last logits back
    (detached), as prediction does. Token counts of the three agree, so one decoder call serves all.
    """

    def __init__(self, model: SamMed3D, rounds: int, box_jitter: float = 0.06) -> None:
        super().__init__()
        self.model, self.rounds, self.box_jitter = model, rounds, box_jitter

    def forward(
        self, image: Float[Tensor, "b 1 s s s"], target: Bool[Tensor, "b s s s"], rng: torch.Generator
    ) -> tuple[Float[Tensor, ""], list[Tensor]]:
        """Return the mean loss and each round's logits at region resolution, (3 b, s, s, s), detached."""
        sizes = self.model.sizes
        embedding = self.model.encode(image).repeat(3, 1, 1, 1, 1)
        wanted = target.repeat(3, 1, 1, 1)
        soft = F.avg_pool3d(wanted[:, None].float(), sizes.image_size // sizes.low_res)
        box = boxes_around(target, self.box_jitter, rng)
        first = click_inside(target, 2, rng, 0.9)[:, None]
        clicks, labels = self._first_points(first, box)
        drawn = lower_box(box, "mask", sizes.image_size, sizes.low_res).mask
        assert drawn is not None
        mask = torch.cat([torch.zeros_like(drawn), torch.zeros_like(drawn), drawn])
        corners = lower_box(box, "corners", sizes.image_size, sizes.low_res).boxes
        losses, seen = [], []
        for turn in range(self.rounds):
            logits = self.model.decode(embedding, self._encode(clicks, labels, corners, mask))
            losses.append(dice_and_cross_entropy(logits[:, 0], soft[:, 0]).mean())
            with torch.no_grad():
                seen.append(upsample(logits[:, 0].detach().float(), sizes.image_size))
                if turn + 1 < self.rounds:
                    at, label = correcting_clicks(seen[-1], wanted, rng)
                    clicks, labels = torch.cat([clicks, at], dim=1), torch.cat([labels, label], dim=1)
                    mask = logits.detach().float()
        return torch.stack(losses).mean(), seen

    def _first_points(self, first: Tensor, box: Tensor) -> tuple[Tensor, Tensor]:
        """The first click of each way; the corners' row is a placeholder that `_encode` leaves out."""
        middle = lower_box(box, "center", 1, 1).points
        assert middle is not None
        clicks = torch.cat([first, middle, middle])
        return clicks, torch.ones(clicks.shape[:2], dtype=torch.long, device=clicks.device)

    def _encode(self, clicks: Tensor, labels: Tensor, corners: Tensor | None, mask: Tensor) -> PromptTokens:
        assert corners is not None
        n = len(corners)
        encoder = self.model.prompt_encoder
        parts = [
            encoder(clicks[:n], labels[:n], None, mask[:n]),
            encoder(clicks[n : 2 * n, 1:], labels[n : 2 * n, 1:], corners, mask[n : 2 * n]),
            encoder(clicks[2 * n :], labels[2 * n :], None, mask[2 * n :]),
        ]
        return PromptTokens(torch.cat([p.sparse for p in parts]), torch.cat([p.dense for p in parts]))


def fresh_model(sizes: Sizes, seed: int) -> SamMed3D:
    """A model with the initial weights that training starts from."""
    torch.manual_seed(seed)
    model = SamMed3D(sizes)
    for name, parameter in model.named_parameters():
        linear = parameter.ndim == 2 and not any(part in name for part in ("embed", "token", "rel_pos"))
        if linear or name.endswith("pos_embed"):
            nn.init.trunc_normal_(parameter, std=0.02)
    for part in (model.prompt_encoder.no_mask_embed, model.mask_decoder.iou_prediction_head):
        part.requires_grad_(False)  # never asked here, as in the reference's training
    model.mask_decoder.output_hypernetworks_mlps[1:].requires_grad_(False)
    return model


@torch.no_grad()
def dice_of(logits: Float[Tensor, "b s s s"], target: Bool[Tensor, "b s s s"]) -> Float[Tensor, " b"]:
    """Dice of each thresholded answer."""
    predicted = logits > 0
    overlap = (predicted & target).flatten(1).sum(1)
    return 2 * overlap / (predicted.flatten(1).sum(1) + target.flatten(1).sum(1)).clamp(min=1)
