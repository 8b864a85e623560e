"""Pretraining a small general model: regions from scans and phantoms, clicks and boxes as at prediction."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from sam_moe.errors import SamMoeError
from sam_moe.sam3d.lowering import lower_box
from sam_moe.sam3d.model import SamMed3D, upsample
from sam_moe.sam3d.normalise import Normalisation, normalise
from sam_moe.sam3d.prompt_encoder import PromptTokens
from sam_moe.sam3d.sizes import Sizes
from sam_moe.shapes import Bool, Float, Int
from sam_moe.training.cache import Scan
from sam_moe.training.crops import Crop, CropRanges, draw_crop
from sam_moe.training.grown import grow
from sam_moe.training.losses import dice_and_cross_entropy
from sam_moe.training.phantoms import cut_off, draw_phantom, spoil
from sam_moe.training.prompting import boxes_around, click_inside, correcting_clicks
from sam_moe.training.seeds import agreed_rng

# Draws in a row that gave no region; more mean that the scans hold next to nothing to learn.
_PATIENCE = 1000
# How likely a step ends after 0, 1, 2, … corrections.
DEPTHS = (0.25, 0.5, 0.15, 0.05, 0.05)


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
        border_share: float = 0.0,
        grown_share: float = 0.0,
    ) -> None:
        self.targets, self.border_share, self.grown_share = targets, border_share, grown_share
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
        image, targets = spoil(crop.image, rng) if spoiled else crop.image, crop.targets
        if self.targets > 1 and torch.rand((), generator=rng) < self.grown_share:
            body = grow(crop.image, targets.any(0), rng)
            targets = targets if body is None else torch.cat([targets[:-1], body[None]])
        if torch.rand((), generator=rng) < self.border_share:
            image = cut_off(image, targets.any(0), rng)
        return {"image": normalise(image, self.normalisation)[None], "target": targets}

    def _draw(self, share: float, rng: torch.Generator) -> Crop | None:
        if not self.names or torch.rand((), generator=rng) < share:
            return draw_phantom(self.size, rng, self.targets)
        name = self.names[int(torch.multinomial(self.weights, 1, generator=rng))]
        scan = self.by_set[name][int(torch.randint(len(self.by_set[name]), (), generator=rng))]
        structures = sorted(scan.structures)
        label = structures[int(torch.randint(len(structures), (), generator=rng))]
        return draw_crop(scan, label, self.size, self.ranges, rng, self.targets)


class PromptedLoss(nn.Module):
    """One training step's loss: each region is encoded once and asked for all its targets.

    The structure that the region was cut for is asked by a click, by a box lowered to corners and by one
    drawn into the mask prompt; others that it shows by a click and one of the two. Most steps go on with
    clicks into the largest error and the last logits fed back (detached), as prediction does; of those
    answers only the last one teaches, so that a long conversation costs little more than a short one.
    `depths[n]` is how likely n corrections are (ours).
    """

    def __init__(
        self,
        model: SamMed3D,
        depths: Sequence[float] = DEPTHS,
        box_jitter: float = 0.06,
    ) -> None:
        super().__init__()
        self.model, self.box_jitter = model, box_jitter
        self.depths = torch.tensor(depths)

    def forward(
        self, image: Float[Tensor, "b 1 s s s"], target: Bool[Tensor, "b t s s s"], rng: torch.Generator
    ) -> Float[Tensor, ""]:
        """Return the mean loss of the first answers and, where the step has one, of the last correction."""
        every = torch.arange(target.shape[0] * target.shape[1])
        sought = every % target.shape[1] == 0
        others = every[~sought][torch.randperm(int((~sought).sum()), generator=rng)]
        half = len(others) // 2
        corners, drawn = (torch.cat([every[sought], part]) for part in (others[:half], others[half:]))
        talk = Conversation(self.model, image, target, rng, corners, drawn, self.box_jitter)
        depth = int(torch.multinomial(self.depths, 1, generator=agreed_rng(rng)))
        loss = talk.loss(first := talk.ask())
        answer = first.detach()
        for turn in range(depth):
            talk.correct(answer)
            with torch.set_grad_enabled(turn + 1 == depth):
                answer = talk.ask()
        return (loss + talk.loss(answer)) / 2 if depth else loss


class Conversation:
    """Every target asked by a click and by boxes, then corrected, in one decoder call a round.

    Rows are clicks on all targets, then boxes lowered to corners for the targets numbered in `corners`, then
    boxes drawn into the mask prompt for those in `drawn`; token counts of the three agree.
    """

    def __init__(
        self,
        model: SamMed3D,
        image: Float[Tensor, "b 1 s s s"],
        target: Bool[Tensor, "b t s s s"],
        rng: torch.Generator,
        corners: Int[Tensor, " c"],
        drawn: Int[Tensor, " d"],
        box_jitter: float,
    ) -> None:
        self.model, self.rng, sizes = model, rng, model.sizes
        wanted, per_region = target.flatten(0, 1), target.shape[1]
        every = torch.arange(len(wanted))
        rows = torch.cat([every, corners, drawn]).to(image.device)
        self.wanted = wanted[rows]
        # Not `[rows // …]`: its gradient is summed in no fixed order where torch has several threads.
        self.embedding = model.encode(image).index_select(0, rows // per_region)
        self.step = sizes.image_size // sizes.low_res
        self.soft = F.avg_pool3d(self.wanted[:, None].float(), self.step)
        self.ends = (len(every), len(every) + len(corners))
        boxes = boxes_around(self.wanted[len(every) :], box_jitter, rng)
        low = sizes.image_size, sizes.low_res
        self.corners = lower_box(boxes[: len(corners)], "corners", *low).boxes
        mask = lower_box(boxes[len(corners) :], "mask", *low).mask
        middle = lower_box(boxes, "center", *low).points  # a placeholder where there are corners
        assert mask is not None and middle is not None
        self.mask = torch.cat([mask.new_zeros(self.ends[1], *mask.shape[1:]), mask])
        self.clicks = torch.cat([click_inside(wanted, 2, rng, 0.9)[:, None], middle])
        self.labels = torch.ones(self.clicks.shape[:2], dtype=torch.long, device=image.device)

    def ask(self) -> Float[Tensor, "r 1 l l l"]:
        """Answer every row from what has been said so far."""
        return self.model.decode(self.embedding, self._encode())

    def correct(self, logits: Float[Tensor, "r 1 l l l"]) -> None:
        """Add a click into each row's largest error, and feed the answer back."""
        # Errors are looked for at the logits' resolution: eight times fewer voxels, the same largest error.
        at, label = correcting_clicks(logits[:, 0], self.soft[:, 0] >= 0.5, self.rng)
        at = at * self.step + (self.step - 1) / 2
        self.clicks, self.labels = torch.cat([self.clicks, at], dim=1), torch.cat([self.labels, label], dim=1)
        self.mask = logits.detach().float()

    def loss(self, logits: Float[Tensor, "r 1 l l l"]) -> Float[Tensor, ""]:
        """Mean loss at the logits' resolution."""
        return dice_and_cross_entropy(logits[:, 0], self.soft[:, 0]).mean()

    @torch.no_grad()
    def whole(self, logits: Float[Tensor, "r 1 l l l"]) -> Float[Tensor, "r s s s"]:
        """Logits at the region's resolution."""
        return upsample(logits[:, 0].detach().float(), self.model.sizes.image_size)

    def _encode(self) -> PromptTokens:
        encoder, (a, b) = self.model.prompt_encoder, self.ends
        points, labels, mask = self.clicks, self.labels, self.mask
        parts = [encoder(points[:a], labels[:a], None, mask[:a])]
        if b > a:
            parts.append(encoder(points[a:b, 1:], labels[a:b, 1:], self.corners, mask[a:b]))
        if len(points) > b:
            parts.append(encoder(points[b:], labels[b:], None, mask[b:]))
        return PromptTokens(*(torch.cat(part) for part in zip(*parts, strict=True)))


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
