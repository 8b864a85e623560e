"""A session on one scan: every click gets an answer on the scan's own voxels, and can be undone."""

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from threading import RLock
from time import perf_counter

import torch
from torch import Tensor

from sam_moe.errors import PromptError
from sam_moe.moe.routing import Routing
from sam_moe.predict.answered import Answered
from sam_moe.predict.answering import Answer, Choosing, ask, choose
from sam_moe.predict.cache import EmbeddingCache
from sam_moe.predict.model import Model, Progress
from sam_moe.predict.prediction import LabelMap, Prediction
from sam_moe.predict.refine import plan, refine
from sam_moe.predict.regions import (
    covers,
    cut,
    holds_boxes,
    region_at,
    region_for,
    touches_border,
)
from sam_moe.predict.timing import timed
from sam_moe.prompts.lowering import lower
from sam_moe.prompts.prompt import Item, Prompt
from sam_moe.sam3d.normalise import normalise
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume

log = logging.getLogger(__name__)

_NOTHING = "nothing was given: give at least one Point or Box, Stroke or Loop."


@dataclass(frozen=True)
class _Turn:
    """One click's answer, kept for undo and for feeding back; `home` is where one looked first."""

    prompt: Prompt
    home: Grid
    answer: Answer
    result: Volume
    answered: Answered | None


@dataclass
class _Cost:
    """What the turn in hand took so far: milliseconds by stage, and regions by who answered them."""

    timings: dict[str, float] = field(default_factory=dict)
    regions: Counter[str] = field(default_factory=Counter)


class Predictor:
    """A session: segment what prompts point at in one scan; no ground truth is ever needed.

    `Model.open` makes it. `predict` starts a target, `refine` adds a click to it with the previous answer fed
    back, `undo` and `redo` walk along its history. The region of interest follows from the prompt; where the
    target turns out larger, the region zooms out and the result is refined with overlapping regions (unless
    `model.whole_targets` is False). Embeddings are cached, so further clicks cost only the decoder. Sessions
    of one model can be used by several threads at a time; one session answers one call after the other.
    """

    def __init__(
        self,
        model: Model,
        scan: Volume,
        scan_fingerprint: str,
        floor: float,
        *,
        cache: EmbeddingCache,
        progress: Progress | None = None,
    ) -> None:
        self.model, self.scan, self.scan_fingerprint = model, scan, scan_fingerprint
        self.cache, self.progress = cache, progress
        self._floor = floor  # the intensity of what lies outside the scan
        self._past: list[_Turn] = []
        self._future: list[_Turn] = []
        self._one_at_a_time = RLock()

    @property
    def model_id(self) -> str:
        """The model's id."""
        return self.model.id

    @property
    def prompt(self) -> Prompt:
        """What the current target was prompted with so far."""
        return self._past[-1].prompt if self._past else Prompt()

    def predict(self, *items: Item) -> Prediction:
        """Answer a new target's prompt: one or more points and boxes, in voxels or millimetres."""
        return self._start_turn(Prompt(items), None)

    def refine(self, *items: Item) -> Prediction:
        """Add items to the current target; the previous answer is fed back."""
        with self._one_at_a_time:
            if not items:
                raise PromptError(_NOTHING)
            return self._start_turn(Prompt((*self.prompt, *items)), self._past[-1] if self._past else None)

    def undo(self) -> Prediction | None:
        """Take back the last call of `predict` or `refine`, whatever it added; None when nothing is left."""
        with self._one_at_a_time:
            if self._past:
                self._future.append(self._past.pop())
            return self._standing()

    def redo(self) -> Prediction | None:
        """Bring back what was undone last; without such the standing answer, None where there is none."""
        with self._one_at_a_time:
            if self._future:
                self._past.append(self._future.pop())
            return self._standing()

    def predict_targets(self, targets: Mapping[str, Prompt]) -> LabelMap:
        """Answer several targets and join them; label n is the n-th name, the more probable target wins.

        The last target is the one that `refine` goes on with.
        """
        if not 0 < len(targets) <= 255:
            raise PromptError(f"{len(targets)} targets do not make a label map; give 1 to 255 named prompts.")
        regions: list[Grid | None] = [None] * len(targets)
        if (sharing := self.model.sharing) is not None:
            worlds = [self._lowered(prompt) for prompt in targets.values()]
            regions = [*sharing.share([region_for(world, self.model.preprocessing) for world in worlds])]
        asked = zip(targets.items(), regions, strict=True)
        with self._one_at_a_time:
            return LabelMap.joined(
                {name: self._start_turn(prompt, None, region) for (name, prompt), region in asked}
            )

    def _start_turn(self, prompt: Prompt, last: _Turn | None, region: Grid | None = None) -> Prediction:
        """Answer a prompt that goes on from the last turn or from nothing; a refused one changes nothing."""
        if not len(prompt):
            raise PromptError(_NOTHING)
        prompt.check_inside(self.scan.grid.affine, self.scan.grid.shape)
        with self._one_at_a_time:
            cost, start = _Cost(), perf_counter()
            turn, cached = self._segment(prompt, last, region, cost)
            cost.timings["join"] = max(0.0, 1000 * (perf_counter() - start) - sum(cost.timings.values()))
            self._past = [*(self._past if last else ()), turn]
            self._future = []
            return self._prediction(turn, cached, cost.timings)

    def _standing(self) -> Prediction | None:
        if not self._past:
            return None
        return self._prediction(self._past[-1], True, {})

    def _prediction(self, turn: _Turn, cached: bool, timings: dict[str, float]) -> Prediction:
        with timed(timings, "restore"):
            prediction = Prediction(
                answer=turn.result,
                grid=self.scan.grid,
                prompt=turn.prompt,
                region=turn.answer.region,
                model_id=self.model_id,
                cached=cached,
                timings_ms=timings,
                answered=turn.answered,
            )
            prediction.mask  # noqa: B018  # computed now, so that the timings are the whole of it
        return prediction

    def _lowered(self, prompt: Prompt) -> Prompt:
        """The prompt in millimetres, of points and boxes alone."""
        return lower(prompt, self.scan.grid.affine, self.scan.grid.shape, self.model.lowering)

    def _segment(
        self, prompt: Prompt, last: _Turn | None, region: Grid | None, cost: _Cost
    ) -> tuple[_Turn, bool]:
        """Find the region, answer on it, follow the target beyond it, refine what had to be coarse."""
        card = self.model.preprocessing
        world = self._lowered(prompt)
        home, answer, cached = self._first_region(world, last, region, cost)
        if not holds_boxes(answer.region, world):
            log.warning(
                "the box is larger than the largest region of %s, %.0f mm; what lies outside is left out",
                self.model_id,
                answer.region.extent_mm[0],
            )
        if self.model.whole_targets and not world.boxes:  # a box says how far the target reaches
            answer, cached = self._zoom_out(answer, world, cached, cost)
        result = answer.probability()
        finest = card.spacing_mm
        if self.model.whole_targets and answer.region.spacing_mm[0] > finest * card.refine_beyond * 1.01:
            regions = plan(result, card.region_voxels, finest, self.model.refine_regions)
            if regions:  # of an empty mask there is nothing to refine

                def ask_there(region: Grid, prompt: Prompt, previous: Tensor) -> Answer:
                    return self._decode_region(region, prompt, previous, answer.routing, cost)[0]

                result = refine(answer, world, regions, ask_there, partial(self._report, "refining"))
        by = answer.answered and replace(answer.answered, regions=dict(cost.regions.most_common()))
        return _Turn(prompt, home, answer, result, by), cached

    def _first_region(
        self, world: Prompt, last: _Turn | None, region: Grid | None, cost: _Cost
    ) -> tuple[Grid, Answer, bool]:
        """Answer where the last answer was, or in a region that is given, or where the prompt asks for.

        Experts are chosen where the target was looked at first, whatever wider region followed it since:
        that is the view which a gate learns from, and it is encoded already.
        """
        model = self.model
        routing = None
        if last is None or not covers(last.answer.region, world):
            home = region = region or region_for(world, model.preprocessing)
        else:
            home, region = last.home, last.answer.region
            if not region.same_as(home) and isinstance(model.network, Choosing):
                embedding, _ = self._embed(home, cost)
                with timed(cost.timings, "decode"):
                    routing = choose(model.network, embedding, home, world, model.box_strategy)
        previous = last.answer.fed_to(region) if last else None
        return home, *self._decode_region(region, world, previous, routing, cost)

    def _zoom_out(self, answer: Answer, world: Prompt, cached: bool, cost: _Cost) -> tuple[Answer, bool]:
        """Zoom out as long as the mask runs into its region's border and the scan goes on behind it."""
        card = self.model.preprocessing
        while touches_border(answer.logits > 0, answer.region, self.scan.grid):
            zoom = answer.region.spacing_mm[0] / card.spacing_mm
            if zoom * 1.01 > card.zoom_max:
                break
            centre = answer.region.world_of([n // 2 for n in answer.region.shape])
            region = region_at(centre, card, zoom * 1.6)
            log.info("the mask reaches its region's border; zooming out to %.2f mm", region.spacing_mm[0])
            answer, cached = self._decode_region(region, world, None, answer.routing, cost)
        return answer, cached

    def _decode_region(
        self, region: Grid, world: Prompt, previous: Tensor | None, routing: Routing | None, cost: _Cost
    ) -> tuple[Answer, bool]:
        """One region: embedded, then decoded, by experts chosen before if there are any."""
        model = self.model
        embedding, cached = self._embed(region, cost)
        with timed(cost.timings, "decode"):
            answer = ask(model.network, embedding, region, world, model.box_strategy, previous, routing)
        if answer.answered is not None:
            cost.regions[" + ".join(answer.answered.experts)] += 1
        return answer, cached

    def _embed(self, region: Grid, cost: _Cost) -> tuple[Tensor, bool]:
        """Cut and encode a region unless that was done before."""
        model = self.model

        def encode() -> Tensor:
            self._report("encoding", 0.0)
            with timed(cost.timings, "cut"):
                image = cut(self.scan, region, model.preprocessing.spacing_mm, self._floor)
                image = normalise(image, model.preprocessing.normalisation)
            with timed(cost.timings, "encode"), torch.no_grad():
                half = None if model.dtype == torch.float32 else model.dtype
                return model.network.encode(image[None, None].to(model.device), half)

        return self.cache.get(self.scan_fingerprint, region, model.embedding_key, encode)

    def _report(self, stage: str, share: float) -> None:
        if self.progress:
            self.progress(stage, share)
