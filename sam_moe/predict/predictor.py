"""The predictor: a scan is opened once, then every click gets an answer on the scan's own voxels."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor

from sam_moe.errors import PromptError
from sam_moe.moe.routing import Routing
from sam_moe.predict.answered import Answered
from sam_moe.predict.answering import Answer, Choosing, Promptable, ask, choose
from sam_moe.predict.cache import EmbeddingCache
from sam_moe.predict.opening import opened
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
from sam_moe.prompts.prompt import Item, Prompt
from sam_moe.registry import Preprocessing
from sam_moe.sam3d.lowering import BoxStrategy
from sam_moe.sam3d.normalise import normalise
from sam_moe.space.files import fingerprint
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume

log = logging.getLogger(__name__)

Progress = Callable[[str, float], None]

_NOTHING = "nothing was said: give at least one Point or Box."


@dataclass(frozen=True)
class _Turn:
    """One click's answer, kept for undo and for feeding back; `home` is where one looked first."""

    prompt: Prompt
    home: Grid
    answer: Answer
    result: Volume
    answered: Answered | None


class Predictor:
    """Segment what prompts point at; no ground truth is ever needed.

    `predict` starts a target, `refine` adds a click to it with the previous answer fed back, `undo` and
    `redo` walk along its history. The region of interest follows from the prompt; where the target turns
    out larger, the region zooms out and the result is refined with overlapping regions
    (`whole_targets=False` keeps to the first region). One scan is open at a time; its embeddings are
    cached, so further clicks cost only the decoder.
    """

    def __init__(
        self,
        model: Promptable,
        preprocessing: Preprocessing,
        box_strategy: BoxStrategy,
        model_id: str,
        device: torch.device | str = "cpu",
        *,
        encoder_fingerprint: str = "",
        cache: EmbeddingCache | None = None,
        whole_targets: bool = True,
        refine_regions: int = 27,
        progress: Progress | None = None,
    ) -> None:
        self.model, self.preprocessing, self.model_id = model, preprocessing, model_id
        self.box_strategy, self.device = box_strategy, torch.device(device)
        self.cache = EmbeddingCache() if cache is None else cache  # one that is still empty is false
        self.whole_targets, self.refine_regions = whole_targets, refine_regions
        self.progress = progress
        # What an embedding depends on beside scan and region, so that a cache can be shared
        self._encoder = f"{encoder_fingerprint or id(model)} {preprocessing} {self.device}"
        self._scan: Volume | None = None
        self._scan_key = ""
        self._floor = 0.0
        self._by: Counter[str] = Counter()  # whom the regions of the prompt in hand were answered by
        self._past: list[_Turn] = []
        self._future: list[_Turn] = []

    @property
    def scan(self) -> Volume:
        """The open scan."""
        if self._scan is None:
            raise PromptError("no scan is open. Call predictor.open(path or volume) before the first prompt.")
        return self._scan

    @property
    def scan_fingerprint(self) -> str:
        """What the open scan is called by content (`space.files.fingerprint`)."""
        return self._scan_key

    @property
    def prompt(self) -> Prompt:
        """What was said so far about the current target."""
        return self._past[-1].prompt if self._past else Prompt()

    def open(self, scan: Volume | str | Path) -> "Predictor":
        """Take up a scan, read from a file if it is a path; the history starts anew."""
        volume, low = opened(scan)
        self._scan, self._scan_key = volume, fingerprint(volume)
        self._floor = 0.0 if self.preprocessing.normalisation == "positive" else low
        self._past, self._future = [], []
        return self

    def predict(self, *items: Item) -> Prediction:
        """Answer a new target's prompt: one or more points and boxes, in voxels or millimetres."""
        return self._say(Prompt(items), None)

    def refine(self, *items: Item) -> Prediction:
        """Add items to the current target; the previous answer is fed back."""
        if not items:
            raise PromptError(_NOTHING)
        return self._say(Prompt((*self.prompt, *items)), self._past[-1] if self._past else None)

    def undo(self) -> Prediction | None:
        """Take the last item back; None when nothing is left."""
        if self._past:
            self._future.append(self._past.pop())
        return self._again()

    def redo(self) -> Prediction | None:
        """Say again what was taken back; None when nothing has been said."""
        if self._future:
            self._past.append(self._future.pop())
        return self._again()

    def predict_targets(self, targets: Mapping[str, Prompt]) -> LabelMap:
        """Answer several targets and join them; label n is the n-th name, the more probable target wins."""
        if not 0 < len(targets) <= 255:
            raise PromptError(f"{len(targets)} targets do not make a label map; give 1 to 255 named prompts.")
        best = torch.zeros(self.scan.grid.shape)
        labels = torch.zeros(self.scan.grid.shape, dtype=torch.uint8)
        predictions = {}
        for value, (name, prompt) in enumerate(targets.items(), start=1):
            predictions[name] = self.predict(*prompt)
            probability = predictions[name].restore().array
            claimed = (probability > 0.5) & (probability > best)
            labels[claimed] = value
            best = torch.where(claimed, probability, best)
        names = dict(enumerate(targets, start=1))
        return LabelMap(labels, self.scan.grid, names, predictions)

    def _say(self, prompt: Prompt, last: _Turn | None) -> Prediction:
        """Answer a prompt that goes on from the last turn or from nothing; a refused one changes nothing."""
        if not len(prompt):
            raise PromptError(_NOTHING)
        prompt.check_inside(self.scan.grid.affine, self.scan.grid.shape)
        timings: dict[str, float] = {}
        start = perf_counter()
        turn, cached = self._answer(prompt, last, timings)
        timings["join"] = max(0.0, 1000 * (perf_counter() - start) - sum(timings.values()))
        self._past = [*(self._past if last else ()), turn]
        self._future = []
        return self._prediction(turn, cached, timings)

    def _again(self) -> Prediction | None:
        if not self._past:
            return None
        return self._prediction(self._past[-1], True, {})

    def _prediction(self, turn: _Turn, cached: bool, timings: dict[str, float]) -> Prediction:
        with _timed(timings, "restore"):
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

    def _answer(self, prompt: Prompt, last: _Turn | None, timings: dict[str, float]) -> tuple[_Turn, bool]:
        """Find the region, answer on it, follow the target beyond it, refine what had to be coarse."""
        world = prompt.in_mm(self.scan.grid.affine)
        self._by = Counter()
        home, answer, cached = self._look(world, last, timings)
        if not holds_boxes(answer.region, world):
            log.warning(
                "the box is larger than the largest region of %s, %.0f mm; what lies outside is left out",
                self.model_id,
                answer.region.extent_mm[0],
            )
        if self.whole_targets and not world.boxes:  # a box says how far the target reaches
            answer, cached = self._follow(answer, world, cached, timings)
        result = answer.probability()
        finest = self.preprocessing.spacing_mm
        coarsest = finest * self.preprocessing.refine_beyond
        if self.whole_targets and answer.region.spacing_mm[0] > coarsest * 1.01:
            regions = plan(result, self.preprocessing.region_voxels, finest, self.refine_regions)
            if regions:  # of an empty mask there is nothing to refine
                tell = partial(self._tell, "refining")
                result = refine(answer, world, regions, self._asked(timings, answer.routing), tell)
        by = answer.answered and replace(answer.answered, regions=dict(self._by.most_common()))
        return _Turn(prompt, home, answer, result, by), cached

    def _look(
        self, world: Prompt, last: _Turn | None, timings: dict[str, float]
    ) -> tuple[Grid, Answer, bool]:
        """Answer where the last answer was, or where the prompt asks for.

        Experts are chosen where the target was looked at first, whatever wider region followed it since:
        that is the view which a gate learns from, and it is encoded already.
        """
        if last is None or not covers(last.answer.region, world):
            home = region = region_for(world, self.preprocessing)
        else:
            home, region = last.home, last.answer.region
        routing = None
        if region is not home and isinstance(self.model, Choosing):
            embedding, _ = self._embed(home, timings)
            with _timed(timings, "decode"):
                routing = choose(self.model, embedding, home, world, self.box_strategy)
        previous = last.answer.fed_to(region) if last else None
        return home, *self._ask(region, world, previous, timings, routing)

    def _follow(
        self, answer: Answer, world: Prompt, cached: bool, timings: dict[str, float]
    ) -> tuple[Answer, bool]:
        """Zoom out as long as the mask runs into its region's border and the scan goes on behind it."""
        while touches_border(answer.logits > 0, answer.region, self.scan.grid):
            zoom = answer.region.spacing_mm[0] / self.preprocessing.spacing_mm
            if zoom * 1.01 > self.preprocessing.zoom_max:
                break
            centre = answer.region.world_of([n // 2 for n in answer.region.shape])
            region = region_at(centre, self.preprocessing, zoom * 1.6)
            log.info("the mask reaches its region's border; zooming out to %.2f mm", region.spacing_mm[0])
            answer, cached = self._ask(region, world, None, timings, answer.routing)
        return answer, cached

    def _asked(
        self, timings: dict[str, float], routing: Routing | None
    ) -> Callable[[Grid, Prompt, Tensor], Answer]:
        return lambda region, prompt, previous: self._ask(region, prompt, previous, timings, routing)[0]

    def _ask(
        self,
        region: Grid,
        world: Prompt,
        previous: Tensor | None,
        timings: dict[str, float],
        routing: Routing | None,
    ) -> tuple[Answer, bool]:
        """One region: embedded, then decoded, by experts chosen before if there are any."""
        embedding, cached = self._embed(region, timings)
        with _timed(timings, "decode"):
            answer = ask(self.model, embedding, region, world, self.box_strategy, previous, routing)
        if answer.answered is not None:
            self._by[" + ".join(answer.answered.experts)] += 1
        return answer, cached

    def _embed(self, region: Grid, timings: dict[str, float]) -> tuple[Tensor, bool]:
        """Cut and encode a region unless that was done before."""

        def encode() -> Tensor:
            self._tell("encoding", 0.0)
            with _timed(timings, "cut"):
                image = cut(self.scan, region, self.preprocessing.spacing_mm, self._floor)
                image = normalise(image, self.preprocessing.normalisation)
            with _timed(timings, "encode"), torch.no_grad():
                return self.model.encode(image[None, None].to(self.device))

        return self.cache.get(self._scan_key, region, self._encoder, encode)

    def _tell(self, stage: str, share: float) -> None:
        if self.progress:
            self.progress(stage, share)


class _timed:
    """Add the milliseconds of a block to a stage."""

    def __init__(self, timings: dict[str, float], stage: str) -> None:
        self.timings, self.stage = timings, stage

    def __enter__(self) -> None:
        self.start = perf_counter()

    def __exit__(self, *error: object) -> None:
        spent = 1000 * (perf_counter() - self.start)
        self.timings[self.stage] = self.timings.get(self.stage, 0.0) + spent
