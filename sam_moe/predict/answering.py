"""One question to a promptable network on one region, and its answer; nothing about scans."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from sam_moe.errors import PromptError
from sam_moe.moe.routing import Routing
from sam_moe.predict.answered import Answered, answered_by
from sam_moe.prompts.prompt import Prompt
from sam_moe.shapes import Float, Int
from sam_moe.space.grid import Grid
from sam_moe.space.upsampling import upsample
from sam_moe.space.volume import Volume, resample


@runtime_checkable
class Promptable(Protocol):
    """What prediction asks of a network, 3-D or 2-D: a region of one voxel along an axis is a slice.

    It is shared by threads, so it keeps nothing of an answer: an embedding and a routing are returned, and
    given back with the next question. Points and boxes are in the region's voxels, as float32: voxel centres
    at whole numbers, a box half-open, [start, stop).
    """

    @property
    def box_strategy(self) -> str:
        """Name of the rule by which boxes are lowered, for the record of a run."""

    @property
    def embedding_key(self) -> str:
        """What an embedding depends on beside the region; equal for networks that embed alike."""

    @property
    def outside(self) -> float | None:
        """Intensity that a region has outside the scan; None for the scan's least."""

    def embed(self, image: Float[Tensor, "x y z"], dtype: torch.dtype | None = None) -> Tensor:
        """Embed a region's intensities, which are the scan's; with products in `dtype` where one is given.

        The embedding is one tensor of any shape; only `answer` and `route` look into it.
        """

    def route(
        self,
        embedding: Tensor,
        points: Float[Tensor, "n 3"],
        labels: Int[Tensor, " n"],
        boxes: Float[Tensor, "m 2 3"],
    ) -> Routing | None:
        """The experts for a prompt; None of a network without experts."""

    def answer(
        self,
        embedding: Tensor,
        points: Float[Tensor, "n 3"],
        labels: Int[Tensor, " n"],
        boxes: Float[Tensor, "m 2 3"],
        previous: Float[Tensor, "l m n"] | None = None,
        routing: Routing | None = None,
    ) -> tuple[Float[Tensor, "l m n"], Routing | None]:
        """Logits on a region, on the CPU and perhaps coarser than its voxels, and the routing behind them.

        `labels` are 1 for positive points and 0 for negative ones; at least one point or box is given.
        `previous` are logits of an earlier answer on this region. The experts of `routing` answer, if it is
        given, so that a target keeps its experts on every region that shows a part of it.
        """


@dataclass(frozen=True)
class Answer:
    """Low-resolution logits on a region; what the next click is fed with."""

    logits: Float[Tensor, "l m n"]
    region: Grid
    routing: Routing | None = None

    @cached_property
    def answered(self) -> Answered | None:
        """The experts behind the answer; None of a network without experts."""
        return answered_by(self.routing)

    def probability(self) -> Volume:
        """The probability on the region's own voxels, 0 to 1, float32."""
        return Volume(upsample(self.logits, self.region.shape).sigmoid(), self.region)

    def fed_to(self, region: Grid) -> Float[Tensor, "l m n"]:
        """These logits as the mask prompt of another region; outside stands their minimum."""
        if self.region.same_as(region):
            return self.logits
        shape = self.logits.shape
        mine = Volume(self.logits, coarse(self.region, shape))
        return resample(mine, onto=coarse(region, shape), fill=float(self.logits.min())).array


def coarse(region: Grid, shape: tuple[int, ...]) -> Grid:
    """The grid of a region's low-resolution logits, `shape` of them."""
    step = np.array(region.shape) / shape
    affine = region.affine.copy()
    affine[:3, 3] = region.world_of((step - 1) / 2)
    affine[:3, :3] *= step
    x, y, z = shape
    return Grid(affine, (x, y, z))


@torch.no_grad()
def ask(
    network: Promptable,
    embedding: Tensor,
    region: Grid,
    prompt: Prompt,
    previous: Float[Tensor, "l m n"] | None = None,
    routing: Routing | None = None,
) -> Answer:
    """Answer a prompt in millimetres on an embedded region; by the experts of `routing`, if it is given.

    Raises:
        PromptError: where nothing of the prompt lies in the region.
    """
    logits, found = network.answer(embedding, *_placed(region, prompt), previous, routing)
    return Answer(logits, region, found)


@torch.no_grad()
def choose(network: Promptable, embedding: Tensor, region: Grid, prompt: Prompt) -> Routing | None:
    """The experts for a prompt in millimetres, by what an embedded region shows where it points.

    Raises:
        PromptError: where nothing of the prompt lies in the region.
    """
    return network.route(embedding, *_placed(region, prompt))


def _placed(
    region: Grid, prompt: Prompt
) -> tuple[Float[Tensor, "n 3"], Int[Tensor, " n"], Float[Tensor, "m 2 3"]]:
    """A prompt in millimetres as it lies in a region: points, their labels, and boxes.

    All clicks accumulate, but for those outside the region, which are dropped: no network was trained with
    them, and a negative one far away adds nothing (ours).
    """
    points, labels = _clicks_in(region, prompt)
    local = Prompt(prompt.boxes).map(np.linalg.inv(region.affine), "voxel").boxes
    if not (len(points) or local):
        raise PromptError(
            "nothing to answer: no point or box lies in the region. Give one there; points of one target lie "
            "no farther apart than the largest region reaches."
        )
    boxes = torch.tensor([[box.start, box.stop] for box in local], dtype=torch.float32).reshape(-1, 2, 3)
    return points, labels, boxes


def _clicks_in(region: Grid, prompt: Prompt) -> tuple[Float[Tensor, "n 3"], Int[Tensor, " n"]]:
    """The points of a prompt in millimetres that lie in a region, in its voxels, and 1 for each positive one.

    All at once: one by one, 200 clicks took as long as decoding one.
    """
    places = np.array([point.at for point in prompt.points]).reshape(-1, 3)
    signs = np.array([point.positive for point in prompt.points], dtype=np.int64)
    index = region.index_of(places)
    inside = ((index >= -0.5) & (index < np.array(region.shape) - 0.5)).all(axis=1)
    return torch.from_numpy(index[inside]).float(), torch.from_numpy(signs[inside])
