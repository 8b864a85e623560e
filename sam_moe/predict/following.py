"""A target followed over the regions of a scan: where to look first, how far to zoom out, where to refine."""

import logging
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from sam_moe.moe.routing import Routing
from sam_moe.predict.answering import Answer, ask, choose
from sam_moe.predict.cache import EmbeddingCache
from sam_moe.predict.history import Turn
from sam_moe.predict.parts import ModelParts
from sam_moe.predict.regions.cut import cut
from sam_moe.predict.regions.refine import plan, refine
from sam_moe.predict.regions.where import covers, home_of, touches_border, warn_of_boxes, wider
from sam_moe.predict.timing import Cost, timed
from sam_moe.progress import Progress
from sam_moe.prompts.prompt import Prompt
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Follower:
    """Answers targets on regions of one scan and keeps nothing of them: turns are handed in and returned.

    `outside` is the intensity that regions have outside the scan.
    """

    model: ModelParts
    scan: Volume
    scan_fingerprint: str
    outside: float
    cache: EmbeddingCache
    progress: Progress | None = None

    def turn(self, world: Prompt, last: Turn | None, region: Grid | None, cost: Cost) -> tuple[Turn, bool]:
        """Find the region, answer on it, follow the target beyond it; and whether its embedding was there.

        Args:
            world: all points and boxes of the target so far, in millimetres.
            last: the turn that this one goes on from; None for a new target.
            region: where to look first, if that is given.
            cost: to which stages and regions are added.
        """
        if not world.shows_target:
            return Turn(home_of(world, self.model.preprocessing), None, len(world), empty=True), True
        home, answer, cached = self._first_region(world, last, region, cost)
        warn_of_boxes(world, answer.region, self.model.id)
        if self.model.whole_targets and not world.boxes:  # a box bounds the target
            answer, cached = self._zoom_out(answer, world, cached, cost)
        return Turn(home, answer, len(world), answered=answer.answered), cached

    def probability(self, turn: Turn, world: Prompt, cost: Cost) -> Volume:
        """The probability that a turn's answer comes to, refined where it was coarse; 0 of no answer."""
        answer, card = turn.answer, self.model.preprocessing
        if answer is None:
            return Volume(torch.zeros(turn.home.shape), turn.home)
        result = answer.probability()
        finest = card.spacing_mm
        if self.model.whole_targets and answer.region.spacing_mm[0] > finest * card.refine_beyond * 1.01:
            regions = plan(result, card.region_shape, finest, self.model.refine_regions)
            if regions:  # of an empty mask there is nothing to refine

                def ask_there(region: Grid, prompt: Prompt, previous: Tensor) -> Answer:
                    return self._decode_region(region, prompt, previous, answer.routing, cost)[0]

                result = refine(answer, world, regions, ask_there, partial(self._report, "refining"))
        return result

    def _first_region(
        self, world: Prompt, last: Turn | None, region: Grid | None, cost: Cost
    ) -> tuple[Grid, Answer, bool]:
        """Answer where the last answer was, or in a region that is given, or where the prompt asks for.

        Experts are chosen where the target was looked at first, whatever wider region followed it since:
        that is the view which a gate learns from, and it is encoded already.
        """
        model, routing = self.model, None
        before = None if last is None else last.answer
        if last is None or before is None or not covers(before.region, world):
            home = region = region or home_of(world, model.preprocessing)
        else:
            home, region = last.home, before.region
            if before.routing is not None and last.zoomed_out:
                embedding, _ = self._embed(home, cost)
                with timed(cost.timings, "decode"):
                    routing = choose(model.network, embedding, home, world)
        previous = None if before is None else before.fed_to(region)
        return home, *self._decode_region(region, world, previous, routing, cost)

    def _zoom_out(self, answer: Answer, world: Prompt, cached: bool, cost: Cost) -> tuple[Answer, bool]:
        """Zoom out as long as the mask runs into its region's border and the scan goes on behind it."""
        while touches_border(answer.logits > 0, answer.region, self.scan.grid):
            region = wider(answer.region, self.model.preprocessing)
            if region is None:
                break
            log.info("the mask reaches its region's border; zooming out to %.2f mm", region.spacing_mm[0])
            answer, cached = self._decode_region(region, world, None, answer.routing, cost)
        return answer, cached

    def _decode_region(
        self, region: Grid, world: Prompt, previous: Tensor | None, routing: Routing | None, cost: Cost
    ) -> tuple[Answer, bool]:
        """One region: embedded, then decoded, by experts chosen before if there are any."""
        model = self.model
        embedding, cached = self._embed(region, cost)
        with timed(cost.timings, "decode"):
            answer = ask(model.network, embedding, region, world, previous, routing)
        if answer.answered is not None:
            cost.regions[" + ".join(answer.answered.experts)] += 1
        return answer, cached

    def _embed(self, region: Grid, cost: Cost) -> tuple[Tensor, bool]:
        """Cut and encode a region unless that was done before."""
        model = self.model

        def encode() -> Tensor:
            self._report("encoding", 0.0)
            with timed(cost.timings, "cut"):
                image = cut(self.scan, region, model.preprocessing.spacing_mm, self.outside)
            with timed(cost.timings, "encode"), torch.no_grad():
                half = None if model.dtype == torch.float32 else model.dtype
                return model.network.embed(image, half)

        return self.cache.get(self.scan_fingerprint, region, model.embedding_key, encode)

    def _report(self, stage: str, share: float) -> None:
        if self.progress:
            self.progress(stage, share)
