"""One question to a promptable model on one region: embed, place the prompt, decode; nothing about scans."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from sam_moe.errors import PromptError
from sam_moe.hosts.sam3d.lowering import BoxStrategy, draw_box, lower_box
from sam_moe.hosts.sam3d.network.prompt_encoder import PromptTokens
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.moe.routing import Routing
from sam_moe.predict.answered import Answered, answered_by
from sam_moe.prompts.prompt import Prompt
from sam_moe.shapes import Float, Int
from sam_moe.space.grid import Grid
from sam_moe.space.upsampling import upsample
from sam_moe.space.volume import Volume, resample


@runtime_checkable
class Promptable(Protocol):
    """What prediction asks of a model: SAM-Med3D alone, or a mixture of experts on it (`Choosing`)."""

    @property
    def sizes(self) -> Sizes:
        """The network's sizes."""

    def encode(
        self, image: Float[Tensor, "b 1 s s s"], dtype: torch.dtype | None = None
    ) -> Float[Tensor, "b c g g g"]:
        """Embed normalised regions, in float32 or with products in another `dtype`."""

    def encode_prompt(
        self, points: Tensor | None, labels: Tensor | None, boxes: Tensor | None, mask: Tensor | None
    ) -> PromptTokens:
        """Embed prompts given in the region's voxels."""

    def decode(
        self, embedding: Float[Tensor, "b c g g g"], tokens: PromptTokens
    ) -> Float[Tensor, "b 1 l l l"]:
        """Answer with low-resolution logits."""


@runtime_checkable
class Choosing(Protocol):
    """What a model has besides that chooses among experts."""

    def choose(self, embedding: Float[Tensor, "b c g g g"], tokens: PromptTokens) -> Routing:
        """Who is to answer."""

    def decode_routed(
        self, embedding: Float[Tensor, "b c g g g"], tokens: PromptTokens, routing: Routing | None = None
    ) -> tuple[Float[Tensor, "b 1 l l l"], Routing]:
        """Low-resolution logits and who gave them: the experts of `routing`, if they were chosen before."""


@dataclass(frozen=True)
class Answer:
    """Low-resolution logits on a region; what the next click is fed with."""

    logits: Float[Tensor, "l l l"]
    region: Grid
    routing: Routing | None = None

    @cached_property
    def answered(self) -> Answered | None:
        """Who answered; None of a model that has nobody to choose."""
        return answered_by(self.routing)

    def probability(self) -> Volume:
        """Brought up to the region's own voxels."""
        return Volume(upsample(self.logits, self.region.shape[0]).sigmoid(), self.region)

    def fed_to(self, region: Grid) -> Float[Tensor, "l l l"]:
        """These logits as the mask prompt of another region; outside stands their minimum."""
        if self.region.same_as(region):
            return self.logits
        low = coarse(region, self.logits.shape[0])
        mine = Volume(self.logits, coarse(self.region, self.logits.shape[0]))
        return resample(mine, onto=low, fill=float(self.logits.min())).array


def coarse(region: Grid, voxels: int) -> Grid:
    """The grid of a region's low-resolution logits."""
    step = region.shape[0] / voxels
    affine = region.affine.copy()
    affine[:3, 3] = region.world_of([(step - 1) / 2] * 3)
    affine[:3, :3] *= step
    return Grid(affine, (voxels,) * 3)


@torch.no_grad()
def ask(
    model: Promptable,
    embedding: Float[Tensor, "1 c g g g"],
    region: Grid,
    prompt: Prompt,
    box_strategy: BoxStrategy,
    previous: Float[Tensor, "l l l"] | None = None,
    routing: Routing | None = None,
) -> Answer:
    """Answer a prompt in millimetres on an encoded region; by the experts of `routing`, if it is given.

    Raises:
        PromptError: where nothing of the prompt lies in the region.
    """
    tokens = place(model, region, prompt, box_strategy, previous, embedding.device)
    if isinstance(model, Choosing):
        logits, found = model.decode_routed(embedding, tokens, routing)
        return Answer(logits[0, 0].float().cpu(), region, found)
    return Answer(model.decode(embedding, tokens)[0, 0].float().cpu(), region)


@torch.no_grad()
def choose(
    model: Choosing,
    embedding: Float[Tensor, "1 c g g g"],
    region: Grid,
    prompt: Prompt,
    box_strategy: BoxStrategy,
) -> Routing:
    """Who is to answer a prompt in millimetres, by what an encoded region shows where it points."""
    assert isinstance(model, Promptable)
    return model.choose(embedding, place(model, region, prompt, box_strategy, None, embedding.device))


@torch.no_grad()
def place(
    model: Promptable,
    region: Grid,
    prompt: Prompt,
    box_strategy: BoxStrategy,
    previous: Float[Tensor, "l l l"] | None,
    device: torch.device,
) -> PromptTokens:
    """Embed a prompt in millimetres as it lies in a region.

    All clicks accumulate, but for those outside the region: no model learnt to hear them, and the negative
    one far away says nothing new (ours). `previous` logits are fed back; at first there are none, which is
    zeros (never the untrained `no_mask_embed`), or the drawn box where that is the strategy. Of several boxes
    `corners` and `center` take the one around all of them, and `mask` draws each.

    Raises:
        PromptError: where nothing of the prompt lies in the region.
    """
    sizes = model.sizes
    at, labels = _clicks_in(region, prompt)
    local = Prompt(prompt.boxes).map(np.linalg.inv(region.affine), "voxel").boxes
    if not (len(at) or local):
        raise PromptError(
            "nothing to answer: no point or box lies in the region. Give one there; points of one target lie "
            "no farther apart than the largest region reaches."
        )
    corners: Tensor | None = None
    mask = previous
    if local:
        boxes = torch.tensor([[b.start, b.stop] for b in local], dtype=torch.float32)
        hull = torch.stack([boxes[:, 0].amin(0), boxes[:, 1].amax(0)])[None]
        lowered = lower_box(hull, box_strategy, sizes.image_size, sizes.low_res)
        corners = lowered.boxes
        if lowered.points is not None:
            at, labels = (
                torch.cat([lowered.points[0], at]),
                torch.cat([torch.ones(1, dtype=labels.dtype), labels]),
            )
        if lowered.mask is not None and mask is None:
            mask = draw_box(boxes, sizes.image_size, sizes.low_res).amax(0)[0]
    if mask is None:
        mask = torch.zeros((sizes.low_res,) * 3)
    return model.encode_prompt(
        at[None].to(device) if len(at) else None,
        labels[None].to(device) if len(at) else None,
        corners.to(device) if corners is not None else None,
        mask[None, None].to(device),
    )


def _clicks_in(region: Grid, prompt: Prompt) -> tuple[Float[Tensor, "n 3"], Int[Tensor, " n"]]:
    """The points of a prompt in millimetres that lie in a region, in its voxels, and 1 for each positive one.

    All at once: one by one, 200 clicks took as long as decoding one.
    """
    places = np.array([point.at for point in prompt.points]).reshape(-1, 3)
    signs = np.array([point.positive for point in prompt.points], dtype=np.int64)
    index = region.index_of(places)
    inside = ((index >= -0.5) & (index < np.array(region.shape) - 0.5)).all(axis=1)
    return torch.from_numpy(index[inside]).float(), torch.from_numpy(signs[inside])
