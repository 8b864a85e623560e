"""Prompts on encoded regions as people give them: a click or a box, then clicks where the answer is wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional as F

from sam_moe.hosts.sam3d.lowering import BoxStrategy, lower_box
from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.network.prompt_encoder import PromptEncoder, PromptTokens
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.shapes import Bool, Float, Int
from sam_moe.space.upsampling import upsample
from sam_moe.systems.sam_med3d_moe.prompted import DEPTHS
from sam_moe.training.engine.seeds import agreed_rng
from sam_moe.training.scans.losses import dice_and_cross_entropy
from sam_moe.training.scans.prompting import boxes_around, click_inside, correcting_clicks


@runtime_checkable
class Answering(Protocol):
    """What a conversation asks of a model; `SamMed3D` is one."""

    @property
    def sizes(self) -> Sizes:
        """Sizes of regions and answers."""

    @property
    def prompt_encoder(self) -> PromptEncoder:
        """Embeds prompts."""

    def decode(
        self, embedding: Float[Tensor, "b c g g g"], tokens: PromptTokens
    ) -> Float[Tensor, "b 1 l l l"]:
        """Logits of the answers."""


@dataclass(frozen=True)
class Prompting:
    """How the regions of a training are prompted.

    Args:
        depths: `depths[n]` is how likely a step ends after n corrections.
        box_jitter: by how much of its edge each face of a box is moved at most.
        box_strategy: how the model's card lowers a box by default.
    """

    depths: Sequence[float] = DEPTHS
    box_jitter: float = 0.06
    box_strategy: BoxStrategy = "mask"


PROMPTING = Prompting()


class Clicked(NamedTuple):
    """Targets asked by a click, by their numbers, and where the clicks are: drawn where `at` is None."""

    rows: Int[Tensor, " k"]
    at: Float[Tensor, "k 3"] | None = None


@dataclass(frozen=True)
class Opening:
    """The first prompts of a conversation.

    Args:
        boxed: numbers of the targets with a box, by the strategy that lowers it; corners come first.
        box_jitter: by how much of its edge each face of a box is moved at most.
        clicked: the targets with a click; None for all of them, at drawn places.
    """

    boxed: Mapping[BoxStrategy, Int[Tensor, " n"]]
    box_jitter: float
    clicked: Clicked | None = None


def taught_strategies(default: BoxStrategy, corner_embeddings: bool) -> tuple[BoxStrategy, ...]:
    """The ways in which boxes are lowered in a training: those in which the model's users give them.

    That is the card's default; weights with corner embeddings are asked by corners as well, and by a drawn
    box where corners are the default (ours). Corners come first.

    >>> taught_strategies("center", False), taught_strategies("mask", True)
    (('center',), ('corners', 'mask'))
    """
    if not corner_embeddings:
        assert default != "corners", "a card with this default needs corner embeddings"
        return (default,)
    return "corners", "mask" if default == "corners" else default


def conversation_loss(
    model: SamMed3D,
    embedding: Float[Tensor, "b c g g g"],
    target: Bool[Tensor, "b t s s s"],
    rng: torch.Generator,
    prompting: Prompting,
) -> Float[Tensor, ""]:
    """One step's mean loss, of the first answers and, where the step has one, of the last correction.

    The structure that a region was cut for is asked by a click and by a box in each of the ways that
    `taught_strategies` names; others that it shows by a click and a box in one of these ways. Most steps go
    on with clicks into the largest error and the last logits fed back (detached), as prediction does; of
    those answers only the last one teaches, so that a long conversation costs little more than a short one
    (ours).
    """
    every = torch.arange(target.shape[0] * target.shape[1])
    sought = every % target.shape[1] == 0
    others = every[~sought][torch.randperm(int((~sought).sum()), generator=rng)]
    ways = taught_strategies(prompting.box_strategy, model.sizes.corner_embeddings)
    parts = torch.tensor_split(others, [len(others) * n // len(ways) for n in range(1, len(ways))])
    boxed = {way: torch.cat([every[sought], part]) for way, part in zip(ways, parts, strict=True)}
    talk = Conversation(model, embedding, target, rng, Opening(boxed, prompting.box_jitter))
    depth = int(torch.multinomial(torch.tensor(prompting.depths), 1, generator=agreed_rng(rng)))
    loss = talk.loss(first := talk.ask())
    answer = first.detach()
    for turn in range(depth):
        talk.correct(answer)
        with torch.set_grad_enabled(turn + 1 == depth):
            answer = talk.ask()
    return (loss + talk.loss(answer)) / 2 if depth else loss


class Conversation:
    """Every target prompted by clicks and boxes, then corrected, in one decoder call a round.

    Rows are the clicks of the opening, then its boxes in their order; token counts agree.
    """

    def __init__(
        self,
        model: Answering,
        embedding: Float[Tensor, "b c g g g"],
        target: Bool[Tensor, "b t s s s"],
        rng: torch.Generator,
        opening: Opening,
    ) -> None:
        self.model, self.rng, sizes = model, rng, model.sizes
        wanted, per_region = target.flatten(0, 1), target.shape[1]
        boxed = opening.boxed
        first, at = opening.clicked or Clicked(torch.arange(len(wanted)))
        rows = torch.cat([first, *boxed.values()]).to(embedding.device)
        self.wanted = wanted[rows]
        # Not `[rows // …]`: its gradient is summed in no fixed order where torch has several threads.
        self.embedding = embedding.index_select(0, rows // per_region)
        self.step = sizes.image_size // sizes.low_res
        self.soft = F.avg_pool3d(self.wanted[:, None].float(), self.step)
        boxes = boxes_around(self.wanted[len(first) :], opening.box_jitter, rng)
        at = click_inside(self.wanted[: len(first)], 2, rng, 0.9) if at is None else at.to(boxes)
        low = (sizes.low_res,) * 3
        clicks, masks, corners = [at[:, None]], [boxes.new_zeros(len(first), 1, *low)], [boxes[:0]]
        assert "corners" not in list(boxed)[1:], "boxes by their corners come first"
        for strategy, own in boxed.items():
            mine, boxes = boxes[: len(own)], boxes[len(own) :]
            lowered = lower_box(mine, strategy, sizes.image_size, sizes.low_res)
            if lowered.boxes is not None:
                corners.append(lowered.boxes)
            # A placeholder where there are corners, which are two tokens as a click and its padding are.
            clicks.append(mine[:, :1] if lowered.points is None else lowered.points)
            masks.append(mine.new_zeros(len(mine), 1, *low) if lowered.mask is None else lowered.mask)
        self.clicks, self.mask, self.corners = torch.cat(clicks), torch.cat(masks), torch.cat(corners)
        self.ends = (len(first), len(first) + len(self.corners))
        self.labels = torch.ones(self.clicks.shape[:2], dtype=torch.long, device=embedding.device)

    def ask(self) -> Float[Tensor, "r 1 l l l"]:
        """Answer every row from its prompts so far."""
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


@torch.no_grad()
def dice_of(logits: Float[Tensor, "b s s s"], target: Bool[Tensor, "b s s s"]) -> Float[Tensor, " b"]:
    """Dice of each thresholded answer."""
    predicted = logits > 0
    overlap = (predicted & target).flatten(1).sum(1)
    return 2 * overlap / (predicted.flatten(1).sum(1) + target.flatten(1).sum(1)).clamp(min=1)
